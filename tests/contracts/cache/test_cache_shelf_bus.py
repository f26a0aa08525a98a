"""The bus: what it tells, when it may be trusted, and that it knows what it missed."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tercet.cache.shelf import BusState, Drop
from tercet.cache.shelf import bus as module
from tercet.cache.shelf.bus import BATCH, TRUST_SECONDS
from tercet.cache.shelf.layout import Layout, messages
from tercet.cache.shelf.redis import RedisShelf
from tercet.clock import SystemClock
from tercet.errors import StoreError
from tercet.telemetry import Operation, Telemetry
from tercet.wire import Wire

Desk = Any

BUS = Layout("tercet").bus


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet bus is looked at more often than it would be, so that nobody waits for it."""
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)


class Ear:
    """Who listens to a shelf: what was heard, and the moments until which to trust it."""

    def __init__(self, desk: Desk, shelf: Any) -> None:
        self.desk, self.shelf = desk, shelf
        self.heard: list[Drop | None] = []
        self.until: list[float] = []
        shelf.follow(self.heard.append, self.until.append)

    def names(self) -> list[str]:
        """All names that were heard, in their order."""
        return [name for drop in self.heard if drop is not None for name in drop.names]

    async def hears(self, drop: Drop | None, times: int = 1) -> None:
        """Wait until it has heard this so many times."""
        await self.desk.until(lambda: self.heard.count(drop) >= times)

    async def trusts_again(self) -> None:
        """Wait until trust is given that was asked for after now."""
        now = time.monotonic()
        await self.desk.until(lambda: self.until and self.until[-1] - TRUST_SECONDS > now)


async def listening(desk: Desk, **settings: Any) -> Ear:
    """Somebody who listens already."""
    ear = Ear(desk, desk.shelf(**settings))
    await desk.until(lambda: ear.until)
    return ear


async def test_every_drop_is_heard_by_everybody_in_order_and_by_its_sender(desk: Desk) -> None:
    """Drops and writes alike, as they were said."""
    here, there = await listening(desk), await listening(desk)
    sent = [
        Drop(names=("k:a", "k:b")),
        Drop(tags=("t",)),
        Drop(patterns=("users:*",)),
        Drop(names=("k:c",), tags=("u",), patterns=("x",)),
        Drop(everything=True),
    ]
    for drop in sent:
        await here.shelf.drop(drop)
    await here.shelf.write("k:w", b"x", 60, ())
    for ear in (here, there):
        await ear.hears(Drop(names=("k:w",)))
        assert ear.heard[-6:] == [*sent, Drop(names=("k:w",))]
        assert ear.shelf.bus.heard == len(sent) + 1
        assert ear.shelf.bus.lag_seconds is not None


async def test_one_who_begins_forgets_first_and_is_trusted_then(desk: Desk) -> None:
    """What was dropped before is not told again; nothing is trusted before everything was forgotten."""
    shelf = desk.shelf()
    await shelf.drop(Drop(names=("k:before",)))
    told: list[object] = []
    shelf.follow(told.append, told.append)
    shelf.follow(told.append, told.append)
    assert shelf.bus == BusState()
    await desk.until(lambda: len(told) >= 2)
    assert told[0] is None
    assert all(isinstance(until, float) for until in told[1:])
    assert shelf.bus.connected
    assert shelf.bus.gaps == 0


async def test_trust_is_counted_from_before_it_was_asked_for(desk: Desk) -> None:
    """And is given anew on a quiet bus, for as long as there is an answer."""
    begun = time.monotonic()
    ear = await listening(desk)
    now = time.monotonic()
    assert begun + TRUST_SECONDS <= ear.until[0] <= now + TRUST_SECONDS
    await ear.trusts_again()
    assert ear.until == sorted(ear.until)


async def test_nothing_acknowledged_is_unknown_to_who_is_trusted(desk: Desk) -> None:
    """At each moment in which trust is given: all that was acknowledged before it was asked for has been heard."""
    shelf, sender = desk.shelf(), desk.shelf()
    acknowledged: list[float] = []
    known: set[int] = set()
    wrong: list[int] = []
    trusts = forgets = 0

    def hear(drop: Drop | None) -> None:
        nonlocal forgets
        if drop is None:
            forgets += 1
            known.update(range(len(acknowledged) + 1))
        else:
            known.update(int(name[2:]) for name in drop.names)

    def trusted(until: float) -> None:
        nonlocal trusts
        trusts += 1
        since = until - TRUST_SECONDS
        wrong.extend(number for number, moment in enumerate(acknowledged) if moment < since and number not in known)

    shelf.follow(hear, trusted)
    end = time.monotonic() + 1.0
    while time.monotonic() < end or trusts < 4:
        number = len(acknowledged)
        await sender.drop(Drop(names=(f"k:{number}",)))
        acknowledged.append(time.monotonic())
        if number % 300 == 100:
            await _cut(desk)
        if number % 300 == 250:
            await desk.redis.xtrim(BUS, maxlen=0)
    await desk.until(lambda: known >= set(range(len(acknowledged))))
    assert wrong == []
    assert forgets >= 1


async def _blocked(desk: Desk) -> int | None:
    """A connection that waits for messages."""
    clients = await desk.redis.client_list()
    return next((int(one["id"]) for one in clients if one["cmd"] == "xread"), None)


async def _cut(desk: Desk) -> None:
    """Cut a connection that waits for messages, if one is waiting."""
    victim = await _blocked(desk)
    if victim is not None:
        with suppress(ResponseError):
            await desk.redis.execute_command("CLIENT", "KILL", "ID", victim)


async def test_after_a_cut_everything_is_replayed(desk: Desk) -> None:
    """More than is read at once, too; nothing is forgotten for it."""
    ear = await listening(desk)
    sent = [f"k:{number}" for number in range(BATCH * 2 + 10)]
    user = await desk.user("sender", "~*", "&*", "+@all")
    sender: Any = Redis.from_url(user)
    await desk.until(lambda: ear.shelf.bus.connected)
    while (victim := await _blocked(desk)) is None:
        await asyncio.sleep(0.001)
    pipe = sender.pipeline(transaction=True)
    pipe.execute_command("CLIENT", "KILL", "ID", victim)
    for name in sent:
        pipe.xadd(BUS, {"d": messages(Drop(names=(name,)))[0]})
    await pipe.execute()
    await sender.aclose()
    await desk.until(lambda: len(ear.names()) >= len(sent))
    assert ear.names() == sent
    assert ear.heard.count(None) == 1
    assert ear.shelf.bus.gaps == 0


@pytest.mark.parametrize("how", ["trimmed", "flushed", "turned back", "trimmed under way"])
async def test_what_is_missing_is_known_to_be_missing(desk: Desk, how: str) -> None:
    """Then everything is to be forgotten, and what comes later is heard."""
    ear = await listening(desk)
    await ear.shelf.drop(Drop(names=("k:before",)))
    await ear.hears(Drop(names=("k:before",)))
    match how:
        case "trimmed":
            await desk.redis.xtrim(BUS, maxlen=0)
        case "flushed":
            await desk.redis.flushall()
        case "turned back":
            # As after a failover to a server that knows less, and whose clock runs behind.
            payload = messages(Drop(names=("k:lost",)))[0]
            async with desk.redis.pipeline(transaction=True) as pipe:
                pipe.delete(BUS)
                pipe.xadd(BUS, {"d": payload}, id="5-1")
                await pipe.execute()
        case _:
            async with desk.redis.pipeline(transaction=True) as pipe:
                for number in range(10):
                    pipe.xadd(BUS, {"d": messages(Drop(names=(f"k:{number}",)))[0]})
                pipe.xtrim(BUS, maxlen=2, approximate=False)
                await pipe.execute()
    await ear.hears(None, times=2)
    assert ear.shelf.bus.gaps == 1
    await ear.trusts_again()
    await ear.shelf.drop(Drop(names=("k:after",)))
    await ear.hears(Drop(names=("k:after",)))
    assert ear.heard.count(None) == 2


async def test_strange_messages_are_passed_over(desk: Desk) -> None:
    """Other fields, other bytes: counted, and the next one is heard."""
    ear = await listening(desk)
    await desk.redis.xadd(BUS, {"x": "y"})
    await desk.redis.xadd(BUS, {"d": b"\xff\x00 nothing of ours"})
    await desk.redis.xadd(BUS, {"d": b"\x94\x91\xa1\xff\x90\x90\xc2"})
    await ear.shelf.drop(Drop(names=("k:a",)))
    await ear.hears(Drop(names=("k:a",)))
    assert ear.heard == [None, Drop(names=("k:a",))]
    assert ear.shelf.bus.foreign == 3


@pytest.mark.parametrize("rule", ["-xread", "-xrange", "-eval -evalsha"])
async def test_one_that_may_not_listen_says_so_once_and_trusts_nothing(
    desk: Desk, rule: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its drops arrive all the same where they may."""
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.001)
    deaf = await desk.user("deaf", "~*", "&*", "+@all", *rule.split())
    ear = Ear(desk, desk.shelf(url=deaf))
    tries = 0
    mark = ear.shelf._bus._refuse

    def counted(error: Any) -> float:
        nonlocal tries
        tries += 1
        return float(mark(error))

    ear.shelf._bus._refuse = counted
    await desk.until(lambda: tries > 5)
    assert caplog.text.count("may not listen") == 1
    if rule != "-xread":
        assert ear.until == []


async def test_a_listener_that_fails_is_asked_to_forget_everything(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """What it left undone is not known; it goes on being told."""
    shelf = desk.shelf()
    heard: list[Drop | None] = []

    def hear(drop: Drop | None) -> None:
        heard.append(drop)
        if drop == Drop(names=("k:bad",)):
            raise ValueError("a fault of the listener's own")

    shelf.follow(hear, lambda _: None)
    await desk.until(lambda: shelf.bus.connected)
    await shelf.drop(Drop(names=("k:bad",)))
    await desk.until(lambda: heard == [None, Drop(names=("k:bad",)), None])
    await desk.until(lambda: shelf.bus.connected)
    await shelf.drop(Drop(names=("k:good",)))
    await desk.until(lambda: heard[-1] == Drop(names=("k:good",)))
    assert "a fault of the listener's own" in caplog.text


async def test_a_gap_is_told_to_telemetry(desk: Desk) -> None:
    """How often everything was forgotten is worth a graph."""
    ear = await listening(desk)
    events: list[object] = []
    ear.shelf._bus._telemetry.listen(events.append)
    await desk.redis.delete(BUS)
    await ear.hears(None, times=2)
    assert Operation("cache", "messages missed", 0.0, "failed", "redis") in events


async def test_nothing_is_left_after_the_end(desk: Desk) -> None:
    """No task, and no answer to be trusted; it can be followed again, and goes on where it stood."""
    ear = await listening(desk)
    await ear.shelf.close()
    await ear.shelf.close()
    assert not [one for one in asyncio.all_tasks() if one.get_name().startswith("tercet-cache")]
    assert not ear.shelf.bus.connected
    await desk.shelf().drop(Drop(names=("k:meanwhile",)))
    ear.shelf.follow(ear.heard.append, ear.until.append)
    await ear.hears(Drop(names=("k:meanwhile",)))
    assert ear.heard == [None, Drop(names=("k:meanwhile",))]


def test_the_bus_goes_on_in_the_next_loop(redis_url: str) -> None:
    """What was dropped in between is heard there, and nothing is forgotten."""
    clock, telemetry = SystemClock(), Telemetry()
    wire = Wire.at(redis_url, deadline=10.0, clock=clock, telemetry=telemetry)
    shelf = RedisShelf(wire, namespace="tercet", clock=clock, telemetry=telemetry)
    heard: list[Drop | None] = []

    async def run(name: str) -> None:
        shelf.follow(heard.append, lambda _: None)
        while not shelf.bus.connected:
            await asyncio.sleep(0.001)
        await shelf.drop(Drop(names=(name,)))
        while heard[-1] != Drop(names=(name,)):
            await asyncio.sleep(0.001)
        await shelf.close()
        await shelf.drop(Drop(names=(f"{name} unheard",)))
        await wire.close()

    asyncio.run(run("k:1"))
    asyncio.run(run("k:2"))
    assert heard == [None, *(Drop(names=(name,)) for name in ("k:1", "k:1 unheard", "k:2"))]


async def test_a_stream_that_is_something_else_is_an_error_to_who_drops(desk: Desk) -> None:
    """A stranger took the key: nobody is trusted, and no drop is acknowledged."""
    await desk.redis.set(BUS, b"x")
    ear = Ear(desk, desk.shelf())
    with pytest.raises(StoreError):
        await ear.shelf.drop(Drop(names=("k:a",)))
    await desk.until(lambda: ear.shelf._bus._refused)
    assert ear.until == []
