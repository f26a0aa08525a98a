"""The wire when its server is killed, frozen, restarted, or throws it out."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import pytest
import pytest_asyncio
import redis

from tercet.clock import SystemClock
from tercet.errors import DeadlinePassed, LoginRefused, NotOpen, StoreError, StoreUnreachable
from tercet.telemetry import Event, Operation, Telemetry
from tercet.wire import Script, Wire
from tercet.wire.line import Line

# Where the server is well, nothing must depend on how fast this machine is.
PATIENCE = 30.0
ECHO = Script("echo", "return ARGV[1]")

# Where it is frozen, this is waited for in vain.
SHORT = 0.2


class OwnRedis(Protocol):
    """The server of a test's own."""

    url: str

    def start(self, *settings: str) -> None:
        """Start it."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...

    def freeze(self) -> None:
        """Stop it where it stands."""
        ...

    def thaw(self) -> None:
        """Let it go on."""
        ...


def _wire(url: str, deadline: float = PATIENCE, telemetry: Telemetry | None = None) -> Wire:
    return Wire.at(url, deadline=deadline, clock=SystemClock(), telemetry=telemetry or Telemetry())


@pytest_asyncio.fixture
async def wire(own_redis: OwnRedis) -> AsyncIterator[Wire]:
    """A patient wire to a server that may be killed."""
    wire = _wire(own_redis.url)
    yield wire
    await wire.close()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.002)


async def _works(wire: Wire) -> None:
    """Wait until commands get through again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await wire.call("SET", "works", "1", deadline=PATIENCE)
            except StoreError:
                await asyncio.sleep(0.01)
            else:
                return


def _open(wire: Wire) -> bool:
    return wire.state().breaker_open


async def test_a_frozen_server_costs_one_deadline_and_then_nothing(own_redis: OwnRedis, wire: Wire) -> None:
    """Whoever waits fails by the deadline, whoever comes later is told at once, and after the thaw all is well."""
    await wire.call("SET", "a", "1")
    own_redis.freeze()
    waiting = [wire.get(b"a", deadline=SHORT), wire.call("INCR", "n", deadline=SHORT), wire.get(b"b", deadline=SHORT)]
    for failed in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(failed, DeadlinePassed)
        assert failed.deadline == SHORT
    assert _open(wire)
    # Nothing was sent: these would wait for half a minute each.
    asked: list[Awaitable[object]] = [wire.get(b"a") for _ in range(1_000)]
    asked += [wire.call("INCR", "n"), wire.get_many([b"a", b"b"])]
    refused = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in refused} == {StoreUnreachable}
    assert len({id(one) for one in refused}) == 1_002
    with pytest.raises(StoreUnreachable):
        await wire.block("BLPOP", "q", 1, key=b"q", seconds=1)
    own_redis.thaw()
    await _until(lambda: not _open(wire))
    # What came too late went to nobody, and what comes now is its own.
    asked = [wire.get(b"a"), wire.call("GET", "n"), wire.get(b"b")]
    assert await asyncio.gather(*asked) == [b"1", b"1", None]


async def test_what_must_be_sent_is_sent_though_the_server_is_not_asked(own_redis: OwnRedis, wire: Wire) -> None:
    """An invalidation waits for the thaw, if its caller has the time."""
    await wire.call("SET", "a", "1")
    own_redis.freeze()
    with pytest.raises(DeadlinePassed):
        await wire.get(b"a", deadline=SHORT)
    must = asyncio.ensure_future(wire.call("UNLINK", "a", always=True, deadline=PATIENCE))
    with pytest.raises(StoreUnreachable):
        await wire.get(b"a")
    assert not must.done()
    own_redis.thaw()
    assert await must == 1
    await _until(lambda: not _open(wire))


async def test_a_server_frozen_from_the_first_connect_on_is_found_when_it_thaws(own_redis: OwnRedis) -> None:
    """The connection is made by nobody's command: a probe goes on trying."""
    own_redis.freeze()
    wire = _wire(own_redis.url, SHORT)
    with pytest.raises(StoreUnreachable, match="no connection was made in time"):
        await wire.get(b"a")
    assert _open(wire)
    own_redis.thaw()
    await _works(wire)
    await wire.close()


async def test_a_line_without_life_is_replaced(own_redis: OwnRedis, wire: Wire) -> None:
    """A new connection is tried beside the silent one, and whichever answers first is used."""
    await wire.call("SET", "a", "1")
    own_redis.freeze()
    with pytest.raises(DeadlinePassed):
        await wire.get(b"a", deadline=SHORT)
    node = next(iter(wire._routes.nodes.values()))  # type: ignore[union-attr]  # it was used
    await _until(lambda: node.main._connecting is not None)
    own_redis.thaw()
    await _until(lambda: not _open(wire))
    assert await wire.get(b"a") == b"1"
    await _until(lambda: node.main._connecting is None)
    assert wire.state().nodes[0].connections == 1


async def test_a_killed_server_is_unreachable_until_it_is_back(own_redis: OwnRedis, wire: Wire) -> None:
    """Nobody waits for it, and nobody has to do anything when it has come back."""
    events: list[Event] = []
    await wire.call("SET", "a", "1")
    wire.telemetry.listen(events.append)
    own_redis.kill()
    with pytest.raises(StoreUnreachable):
        await wire.call("INCR", "n")
    await _until(lambda: _open(wire))
    with pytest.raises(StoreUnreachable, match="refused"):
        await wire.get(b"a")
    own_redis.start()
    await _until(lambda: not _open(wire))
    assert await wire.get(b"a") is None
    told = [(one.name, one.outcome, one.error) for one in events if isinstance(one, Operation)]
    assert told == [("breaker", "failed", "StoreUnreachable"), ("breaker", "ok", None)]


async def test_an_idle_connection_that_the_server_ends_is_replaced_unseen(wire: Wire) -> None:
    """Nobody's command fails for it, and who watches is told."""
    connected: list[int] = []
    wire.watch(lambda: connected.append(1))
    ours = await wire.client_id()
    assert connected == [1]
    other = Wire(wire._source, deadline=PATIENCE, clock=SystemClock(), telemetry=Telemetry())
    for _ in range(3):
        await other.call("CLIENT", "KILL", "ID", ours)
        await _until(lambda ours=ours: wire.state().nodes[0].connected and _id(wire) != ours)  # type: ignore[misc]  # a default has no type
        assert await wire.call("PING") == b"PONG"
        ours = await wire.client_id()
    assert connected == [1, 1, 1, 1]
    await other.close()


def _id(wire: Wire) -> int:
    return next(iter(wire.client_ids().values()), 0)


def _line(wire: Wire) -> Line:
    line = next(iter(wire._routes.nodes.values())).main.line  # type: ignore[union-attr]  # it was used
    assert line is not None
    return line


async def test_reads_survive_a_lost_connection_and_writes_are_told(wire: Wire) -> None:
    """A GET changes nothing and is sent again; whether a write took place is not known."""
    await wire.call("SET", "a", "1")
    ours = await wire.client_id()
    # The server handles these in order: after the first one the connection is gone.
    _, read, many, write = await asyncio.gather(
        wire.call("CLIENT", "KILL", "ID", ours, "SKIPME", "no"),
        wire.get(b"a"),
        wire.get_many([b"a", b"b"]),
        wire.call("INCR", "n"),
        return_exceptions=True,
    )
    assert (read, many) == (b"1", [b"1", None])
    assert isinstance(write, StoreUnreachable)
    assert "lost" in str(write)


async def test_a_cancelled_command_that_waits_for_a_connection_is_never_sent(own_redis: OwnRedis) -> None:
    """Who has gone away wants nothing done any more."""
    own_redis.freeze()
    wire = _wire(own_redis.url)
    cancelled = asyncio.ensure_future(wire.call("SET", "a", "cancelled"))
    stays = asyncio.ensure_future(wire.call("SET", "b", "stays"))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    own_redis.thaw()
    assert await stays == b"OK"
    assert await wire.get_many([b"a", b"b"]) == [None, b"stays"]
    await wire.close()


async def test_listeners_hear_of_the_gap_and_then_of_everything(own_redis: OwnRedis, wire: Wire) -> None:
    """After a restart the channel is subscribed to again before None is told: nothing is lost unnoticed after it."""
    heard: list[bytes | None] = []
    await wire.listen(b"news", heard.append)
    await wire.call("PUBLISH", "news", "1")
    own_redis.kill()
    own_redis.start()
    await _until(lambda: None in heard)
    await _works(wire)
    await wire.call("PUBLISH", "news", "2")
    assert heard == [b"1", None, b"2"]


async def test_a_frozen_server_and_cancelled_callers_mix_no_answers(own_redis: OwnRedis) -> None:
    """Freezes, thaws and cancels at random: whoever gets an answer gets its own."""
    chance = random.Random(11)
    wire = _wire(own_redis.url, 0.05)
    await _works(wire)
    right = wrong = 0

    async def caller(number: int, deadline: float | None = None) -> None:
        nonlocal right, wrong
        word = b"%d" % number
        try:
            if number % 2:
                echoed = await wire.call("ECHO", word, deadline=deadline)
            else:
                echoed = await wire.run(ECHO, [b"k"], [word], deadline=deadline)
        except StoreError:
            return
        right += echoed == word
        wrong += echoed != word

    for turn in range(12):
        tasks = [asyncio.create_task(caller(turn * 1_000 + number)) for number in range(200)]
        await asyncio.sleep(0)
        for task in chance.sample(tasks, 60):
            task.cancel()
        if turn % 3 == 0:
            own_redis.freeze()
        await asyncio.wait(tasks)
        own_redis.thaw()
        await _works(wire)
    before = right
    await asyncio.gather(*(caller(number, PATIENCE) for number in range(100)))
    await wire.close()
    assert (right - before, wrong) == (100, 0)


async def test_closing_ends_commands_that_wait_on_the_server(wire: Wire) -> None:
    """They are told that it was closed, like everybody else."""
    blocked = asyncio.create_task(wire.block("BLPOP", "q", PATIENCE, key=b"q", seconds=PATIENCE))
    while b"blocked_clients:1" not in await wire.call("INFO", "clients"):
        await asyncio.sleep(0.002)
    await wire.close()
    with pytest.raises(NotOpen):
        await blocked


async def test_closing_while_the_server_is_frozen_or_gone_waits_for_nobody(own_redis: OwnRedis) -> None:
    """Whoever waits is told that it was closed, and no task is left."""
    wire = _wire(own_redis.url)
    await wire.call("PING")
    own_redis.freeze()
    waiting = [asyncio.ensure_future(wire.get(b"a")), asyncio.ensure_future(wire.call("INCR", "n"))]
    blocked = asyncio.create_task(wire.block("BLPOP", "q", PATIENCE, key=b"q", seconds=PATIENCE))
    await asyncio.sleep(0.01)
    await wire.close()
    for closed in await asyncio.gather(*waiting, blocked, return_exceptions=True):
        assert isinstance(closed, NotOpen)
    own_redis.kill()
    with pytest.raises(StoreUnreachable):
        await wire.get(b"a")
    await wire.close()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_login_that_is_not_accepted_says_so_and_keeps_its_secret(own_redis: OwnRedis) -> None:
    """Waiting will not help, so it is another error than an unreachable server."""
    wire = _wire(own_redis.url)
    await wire.call("ACL", "SETUSER", "app", "on", ">right", "~app:*", "+@all", "&*")
    await wire.call("CONFIG", "SET", "requirepass", "hunter2")
    good = _wire(own_redis.url.replace("//", "//app:right@"))
    bad = _wire(own_redis.url.replace("//", "//app:wrong-hunter2@"))
    none = _wire(own_redis.url)
    assert await good.call("SET", "app:a", "1") == b"OK"
    for refused in (bad, none):
        with pytest.raises(LoginRefused) as error:
            await refused.get(b"app:a")
        assert "hunter2" not in str(error.value)
        assert _open(refused)
    # A key that this user may not read fails its own caller; the MGET of all is asked again key by key.
    one, foreign = await asyncio.gather(good.get(b"app:a"), good.get(b"other"), return_exceptions=True)
    assert one == b"1"
    assert isinstance(foreign, StoreError)
    assert "NOPERM" in str(foreign)
    for each in (wire, good, bad, none):
        await each.close()


async def test_a_channel_that_may_not_be_heard_is_refused_and_mixes_nothing_up(own_redis: OwnRedis) -> None:
    """A refused SUBSCRIBE has a reply where an accepted one has none."""
    admin = _wire(own_redis.url)
    await admin.call("ACL", "SETUSER", "app", "on", ">right", "~*", "+@all", "resetchannels", "&mine")
    wire = _wire(own_redis.url.replace("//", "//app:right@"))
    heard: list[bytes | None] = []
    await wire.listen(b"mine", heard.append)
    refused, echoed = await asyncio.gather(
        wire.listen(b"theirs", heard.append), wire.call("ECHO", "1"), return_exceptions=True
    )
    assert isinstance(refused, StoreError)
    assert echoed == b"1"
    await wire.call("PUBLISH", "mine", "2")
    assert await wire.call("ECHO", "3") == b"3"
    assert heard == [b"2"]
    await wire.close()
    await admin.close()


async def test_a_full_server_says_that_it_is_full(own_redis: OwnRedis, wire: Wire) -> None:
    """OOM has a mend of its own; reads go on."""
    await wire.call("SET", "a", "1")
    await wire.call("CONFIG", "SET", "maxmemory", "1")
    full, read = await asyncio.gather(wire.call("SET", "b", "2"), wire.get(b"a"), return_exceptions=True)
    assert read == b"1"
    assert isinstance(full, StoreError)
    assert (getattr(full, "code", ""), "maxmemory" in full.mend) == ("OOM", True)


async def test_a_unix_socket_and_another_database_are_taken_from_the_url(own_redis: OwnRedis, tmp_path: object) -> None:
    """Whatever redis-py's client was told is what the wire's connections are made with."""
    own_redis.kill()
    path = f"{tmp_path}/redis.sock"
    own_redis.start("--unixsocket", path)
    wire = _wire(f"unix://{path}?db=3&client_name=ours")
    assert await wire.call("SET", "a", "1") == b"OK"
    info: bytes = await wire.call("CLIENT", "INFO")
    assert b" name=ours " in info
    assert b" db=3 " in info
    assert b" resp=3 " in info
    assert wire.state().nodes[0].address == path
    await wire.close()


async def test_a_server_that_does_not_read_is_not_drowned(own_redis: OwnRedis, wire: Wire) -> None:
    """What the sockets do not take waits here, and leaves in its order when they do."""
    await wire.call("PING")
    own_redis.freeze()
    word = b"x" * 30_000
    appended = [asyncio.ensure_future(wire.call("APPEND", "a", word))]
    while not _line(wire).paused:
        await asyncio.sleep(0)
        appended.append(asyncio.ensure_future(wire.call("APPEND", "a", word)))
    appended += [asyncio.ensure_future(wire.call("APPEND", "a", word)) for _ in range(10)]
    last = asyncio.ensure_future(wire.call("STRLEN", "a"))
    own_redis.thaw()
    assert await asyncio.gather(*appended) == [30_000 * (number + 1) for number in range(len(appended))]
    assert await last == 30_000 * len(appended)


async def test_more_commands_than_may_wait_are_refused(
    own_redis: OwnRedis, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that found room are answered, the others are told at once."""
    monkeypatch.setattr("tercet.wire.lane.WAITING_MAX", 100)
    await wire.call("PING")
    own_redis.freeze()
    calls = [asyncio.ensure_future(wire.call("INCR", "n")) for _ in range(60)]
    await asyncio.sleep(0)
    calls += [asyncio.ensure_future(wire.call("INCR", "n")) for _ in range(60)]
    with pytest.raises(StoreUnreachable, match="100 commands wait"):
        await calls[-1]
    own_redis.thaw()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results[:100] == list(range(1, 101))
    assert {type(one) for one in results[100:]} == {StoreUnreachable}


async def test_a_loop_that_stood_still_does_not_blame_the_server(own_redis: OwnRedis, wire: Wire) -> None:
    """The answer was there in time, and only we had no time for it."""
    await wire.call("SET", "a", "1")
    asked = asyncio.ensure_future(wire.get(b"a", deadline=SHORT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with redis.Redis.from_url(own_redis.url) as client:
        # It answers in order, so that ours is answered too.
        client.ping()
        client.ping()
    time.sleep(SHORT * 2)
    assert await asked == b"1"
    assert not _open(wire)


async def test_a_refusal_is_quick_when_the_server_is_not_asked(own_redis: OwnRedis, wire: Wire) -> None:
    """Ten thousand refusals need no reply and no timer: they are there within the same turn of the loop."""
    await wire.call("PING")
    own_redis.kill()
    await _until(lambda: _open(wire))
    loop = asyncio.get_running_loop()
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    loop.call_soon(turn)
    started = time.perf_counter()
    for _ in range(1_000):
        with pytest.raises(StoreUnreachable):
            await wire.get(b"a")
    assert turns <= 1
    assert time.perf_counter() > started
