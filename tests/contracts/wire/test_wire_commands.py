"""The wire on a real server: what leaves together, who gets which answer, and what errors say."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
import pytest_asyncio

from tercet.clock import SystemClock
from tercet.errors import CommandInvalid, CommandRefused, NotOpen, SettingInvalid, WrongLoop
from tercet.telemetry import Telemetry
from tercet.wire import Script, Wire

# Nothing here is about deadlines, and a loaded machine may take its time.
PATIENCE = 30.0


def _wire(url: str) -> Wire:
    return Wire.at(url, deadline=PATIENCE, clock=SystemClock(), telemetry=Telemetry())


@pytest_asyncio.fixture
async def wire(redis_url: str) -> AsyncIterator[Wire]:
    """A wire to an empty database."""
    wire = _wire(redis_url)
    yield wire
    await wire.close()


async def _calls(wire: Wire, command: str) -> int:
    """How often the server has been asked this."""
    info: bytes = await wire.call("INFO", "commandstats")
    for line in info.decode().splitlines():
        if line.startswith(f"cmdstat_{command}:"):
            return int(line.partition("calls=")[2].partition(",")[0])
    return 0


async def test_the_commands_of_a_tick_leave_in_one_write(wire: Wire) -> None:
    """Tasks that ask in the same turn of the loop share a write, and their GETs a MGET."""
    await wire.call("MSET", "a", "1", "b", "2")
    before = wire.state().nodes[0]
    mgets = await _calls(wire, "mget")
    many, *answers = await asyncio.gather(
        wire.get_many([b"b", b"none"]),
        wire.get(b"a"),
        wire.get(b"a"),
        wire.call("INCR", "n"),
        wire.get(b"b"),
        wire.call("INCR", "n"),
        wire.get(b"n"),
    )
    after = wire.state().nodes[0]
    assert many == [b"2", None]
    # A GET sees what was sent before it in the same tick.
    assert answers == [b"1", b"1", 1, b"2", 2, b"2"]
    assert after.writes - before.writes == 2  # INFO is the other one
    assert await _calls(wire, "mget") - mgets == 2


async def test_equal_gets_ask_for_one_key(wire: Wire) -> None:
    """A hundred callers of one key are one key in one MGET."""
    await wire.call("SET", "a", "1")
    hits = "keyspace_hits:"

    async def counted() -> int:
        info: bytes = await wire.call("INFO", "stats")
        return int(info.decode().partition(hits)[2].split()[0])

    before = await counted()
    assert await asyncio.gather(*(wire.get(b"a") for _ in range(100))) == [b"1"] * 100
    assert await counted() - before == 1


async def test_replies_are_what_resp3_gives(wire: Wire) -> None:
    """Maps are dicts, doubles are floats, nothing is None; what is no string is no value for a GET."""
    assert await wire.call("HSET", "h", "f", 1.5) == 1
    assert await wire.call("HGETALL", b"h") == {b"f": b"1.5"}
    await wire.call("ZADD", "z", 2.5, "m")
    assert await wire.call("ZSCORE", "z", "m") == 2.5
    assert await wire.get(b"h") is None
    assert await wire.get(b"none") is None


async def test_many_keys_come_in_their_order_and_none_is_no_question(wire: Wire) -> None:
    """More than one MGET may hold are asked in several."""
    keys = [b"k%d" % number for number in range(1_300)]
    await wire.call("MSET", *(word for key in keys for word in (key, b"v" + key)))
    assert await wire.get_many(keys) == [b"v" + key for key in keys]
    assert await asyncio.gather(*map(wire.get, keys)) == [b"v" + key for key in keys]
    assert await wire.get_many([]) == []


async def test_an_error_reply_is_for_its_own_command_only(wire: Wire) -> None:
    """The neighbours of a command that is refused do not notice."""
    await wire.call("SET", "text", "abc")
    first, refused, last = await asyncio.gather(
        wire.call("INCR", "n"), wire.call("INCR", "text"), wire.get(b"text"), return_exceptions=True
    )
    assert (first, last) == (1, b"abc")
    assert isinstance(refused, CommandRefused)
    assert (refused.code, refused.store) == ("ERR", "redis")
    with pytest.raises(CommandRefused, match="another kind of value") as wrong:
        await wire.call("LPUSH", "text", "x")
    assert wrong.value.code == "WRONGTYPE"


async def test_no_error_repeats_the_words_of_a_command(wire: Wire) -> None:
    """Redis quotes the words of a command it does not know, and they may be secret."""
    with pytest.raises(CommandRefused) as refused:
        await wire.call("NOSUCHCOMMAND", "hunter2")
    assert "hunter2" not in str(refused.value)


async def test_cancelled_callers_leave_every_other_answer_where_it_belongs(wire: Wire) -> None:
    """Thousands of callers, a third of them cancelled at any moment: who stays gets exactly its own."""
    chance = random.Random(7)
    values = {b"k%d" % number: b"v%d" % number for number in range(200)}
    await wire.call("MSET", *(word for pair in values.items() for word in pair))

    async def ask(key: bytes) -> None:
        match chance.randrange(4):
            case 0:
                assert await wire.get(key) == values[key]
            case 1:
                assert await wire.call("GET", key) == values[key]
            case 2:
                assert await wire.get_many([key, b"none"]) == [values[key], None]
            case _:
                assert await wire.call("ECHO", key) == key

    async def caller() -> bool:
        for _ in range(chance.randrange(1, 4)):
            await ask(chance.choice(list(values)))
        return True

    stayed = 0
    for _ in range(40):
        tasks = [asyncio.create_task(caller()) for _ in range(100)]
        doomed = chance.sample(tasks, 33)
        while doomed:
            await asyncio.sleep(0)
            doomed.pop().cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is True or isinstance(result, asyncio.CancelledError) for result in results), results
        stayed += results.count(True)
    assert stayed >= 40 * 67
    assert wire.state().nodes[0].in_flight == 0
    assert wire.state().nodes[0].connections == 1


async def test_a_script_is_sent_where_it_is_not_known(wire: Wire) -> None:
    """The first run brings the text, the second the hash alone, and a flush of the server is no matter."""
    script = Script("twice", "return {KEYS[1], ARGV[1] * 2}")
    assert await wire.run(script, [b"k"], [21]) == [b"k", 42]
    assert await wire.call("SCRIPT", "EXISTS", script.sha) == [1]
    evals = await _calls(wire, "eval")
    assert await wire.run(script, [b"k"], [1]) == [b"k", 2]
    assert await _calls(wire, "eval") == evals
    await wire.call("SCRIPT", "FLUSH")
    assert await asyncio.gather(*(wire.run(script, [b"k"], [n]) for n in range(5))) == [[b"k", 2 * n] for n in range(5)]


async def test_big_values_have_a_connection_of_their_own(wire: Wire) -> None:
    """Long words go there by themselves, long answers when the caller says so."""
    big = random.Random(1).randbytes(3_000_000)
    await wire.call("SET", "big", big)
    assert wire.state().nodes[0].connections == 1
    # Compared by their digests: nobody could read the difference.
    values = [
        await wire.get(b"big", big=True),
        *await wire.get_many([b"big", b"big"], big=True),
        await wire.get(b"big"),
    ]
    assert {sha256(value or b"").hexdigest() for value in values} == {sha256(big).hexdigest()}
    assert wire.state().nodes[0].connections == 2


async def test_a_command_that_waits_holds_up_nobody(wire: Wire) -> None:
    """It has a connection of its own, which the next one uses again."""
    waiting = asyncio.create_task(wire.block("BLPOP", "q", PATIENCE, key=b"q", seconds=PATIENCE))
    while not (await wire.call("INFO", "clients")).partition(b"blocked_clients:")[2].startswith(b"1"):
        await asyncio.sleep(0.001)
    await wire.call("RPUSH", "q", "x")
    assert await waiting == [b"q", b"x"]
    assert await wire.block("BLPOP", "q", 0.05, key=b"q", seconds=1.0) is None
    assert wire.state().nodes[0].connections == 2


async def test_a_cancelled_wait_ends_on_the_server_too(wire: Wire) -> None:
    """Its connection is closed, so that it takes nothing from the list afterwards."""
    waiting = asyncio.create_task(wire.block("BLPOP", "q", PATIENCE, key=b"q", seconds=PATIENCE))
    while not (await wire.call("INFO", "clients")).partition(b"blocked_clients:")[2].startswith(b"1"):
        await asyncio.sleep(0.001)
    waiting.cancel()
    await asyncio.wait([waiting])
    while not (await wire.call("INFO", "clients")).partition(b"blocked_clients:")[2].startswith(b"0"):
        await asyncio.sleep(0.001)
    await wire.call("RPUSH", "q", "x")
    assert await wire.call("LLEN", "q") == 1


async def test_a_connection_that_was_made_for_somebody_who_left_is_ended(wire: Wire) -> None:
    """Its caller may be cancelled in the very moment in which it is made."""
    await wire.call("PING")
    assert wire._routes is not None
    assert wire._routes.only is not None
    opening = wire._routes.only._opening
    caller = asyncio.create_task(wire.block("BLPOP", "q", PATIENCE, key=b"q", seconds=PATIENCE))
    while not opening:
        await asyncio.sleep(0)
    (made,) = opening
    while not made.done():
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert made.result().closed
    await made.result().gone


async def test_messages_come_between_answers_and_reach_their_listeners(wire: Wire) -> None:
    """Pushed messages share the connection; a listener that raises hurts nobody."""
    heard: list[bytes | None] = []

    def broken(_: bytes | None) -> None:
        raise ValueError("a listener's own fault")

    await wire.listen(b"news", broken)
    await wire.listen(b"news", heard.append)
    for number in range(50):
        _, echoed, _ = await asyncio.gather(
            wire.call("PUBLISH", "news", f"{number}a"),
            wire.call("ECHO", str(number)),
            wire.call("PUBLISH", "news", "b"),
        )
        assert echoed == str(number).encode()
    assert heard == [word for number in range(50) for word in (b"%da" % number, b"b")]
    await wire.unlisten(b"news", broken)
    await wire.unlisten(b"news", heard.append)
    await wire.unlisten(b"news", heard.append)
    assert await wire.call("PUBSUB", "CHANNELS", "news") == []


async def test_scanning_finds_every_key_that_matches(wire: Wire) -> None:
    """In portions, and no key of another kind."""
    keys = {b"a:%d" % number for number in range(1_000)}
    await wire.call("MSET", *(word for key in keys for word in (key, b"")), "b:1", "")
    found = [portion async for portion in wire.scan(b"a:*", count=100)]
    assert {key for portion in found for key in portion} == keys
    assert len(found) > 1


@pytest.mark.parametrize(
    "words",
    [
        ("MULTI",),
        (b"select", 1),
        ("BLPOP", "q", 0),
        ("GET", None),
        ("SET", "k", ["v"]),
        (),
        ("client", "reply", "off"),
        ("XREAD", b"block", 0, "STREAMS", "s", "$"),
    ],
)
async def test_what_cannot_be_shared_or_sent_is_refused_at_once(wire: Wire, words: tuple[bytes, ...]) -> None:
    """Nothing of it reaches the connection that everybody uses."""
    with pytest.raises(CommandInvalid):
        await wire.call(*words)
    assert await wire.call("PING") == b"PONG"


async def test_a_key_that_is_none_fails_its_own_caller_only(wire: Wire) -> None:
    """The GETs of the same tick are answered all the same."""
    await wire.call("SET", "a", "1")
    bad: bytes = None  # type: ignore[assignment]  # a mistake as a program without types makes it
    one, none, other = await asyncio.gather(wire.get(b"a"), wire.get(bad), wire.get(b"b"), return_exceptions=True)
    assert (one, other) == (b"1", None)
    assert isinstance(none, CommandInvalid)


async def test_closing_tells_whoever_waits_and_the_wire_begins_afresh(redis_url: str) -> None:
    """Nothing is left behind, and nobody waits for ever."""
    wire = _wire(redis_url)
    waiting = asyncio.ensure_future(wire.get(b"a"))
    await wire.close()
    with pytest.raises(NotOpen):
        await waiting
    assert await wire.get(b"a") is None
    await wire.close()
    await wire.close()
    assert wire.state().nodes == ()


def test_a_wire_serves_one_event_loop_after_the_other(redis_url: str) -> None:
    """It begins afresh in each."""
    wire = _wire(redis_url)

    async def use() -> None:
        assert await wire.get(b"a") is None
        await wire.close()

    asyncio.run(use())
    asyncio.run(use())


def test_a_wire_refuses_a_second_event_loop_at_once(redis_url: str) -> None:
    """Two loops at a time would share a connection that belongs to one."""
    wire = _wire(redis_url)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def use() -> None:
        assert await wire.get(b"a") is None

    try:
        first.run_until_complete(use())
        with pytest.raises(WrongLoop):
            second.run_until_complete(use())
        first.run_until_complete(wire.close())
        second.run_until_complete(use())
        second.run_until_complete(wire.close())
    finally:
        first.close()
        second.close()


def test_a_wire_that_was_used_before_a_fork_is_refused_after_it(redis_url: str) -> None:
    """The child would speak on its parent's connection."""
    wire = _wire(redis_url)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def use() -> None:
        await wire.get(b"a")

    try:
        first.run_until_complete(use())
        # As a child finds it: made in another process, with that one's loop.
        wire._pid += 1
        with pytest.raises(WrongLoop) as refused:
            second.run_until_complete(use())
        assert refused.value.forked
        first.run_until_complete(wire.close())
    finally:
        first.close()
        second.close()


def test_a_text_that_is_no_url_is_refused_before_anything_is_opened() -> None:
    """And the error does not repeat it: it may hold a password."""
    with pytest.raises(SettingInvalid) as refused:
        _wire("amqp://user:hunter2@example.com")
    assert "hunter2" not in str(refused.value)
