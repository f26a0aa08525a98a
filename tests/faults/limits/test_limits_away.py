"""A limit whose Redis is killed, frozen, full or forgetful: the limit decides by its own choice, then counts again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import pytest
import redis

from tercet.clock import StoppedClock, SystemClock
from tercet.errors import CommandRefused, DeadlinePassed, StoreUnreachable
from tercet.limits import Limit, Limits
from tercet.telemetry import Telemetry
from tercet.wire import Wire

# No answer takes so long that comes at all.
DEADLINE_SECONDS = 30.0
# Short enough to wait for a frozen server; what an answer takes is then left to the machine.
SHORT_SECONDS = 0.5
# How long a test waits for what will happen anyway.
PATIENCE_SECONDS = 60.0


class Server(Protocol):
    """The server of conftest."""

    url: str

    def start(self, *settings: str) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@pytest.fixture
async def wire(own_redis: Server) -> AsyncIterator[Wire]:
    """A wire to a server that may be killed."""
    made = Wire.at(own_redis.url, deadline=DEADLINE_SECONDS, clock=SystemClock(), telemetry=Telemetry())
    yield made
    await made.close()


@pytest.fixture
def limits(wire: Wire) -> Limits:
    """Limits on it."""
    return Limits(wire)


async def counted_again(limit: Limit, key: str) -> None:
    """Return when a check has been counted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (await limit.check(key)).checked:
            await asyncio.sleep(0.01)


async def away(limit: Limit, key: str) -> None:
    """Return when a check is not counted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await limit.check(key)).checked:
            await asyncio.sleep(0.01)


async def test_a_killed_redis_leaves_the_choice_to_the_limit_and_is_used_again(
    own_redis: Server, limits: Limits
) -> None:
    """Let through, refused or raised; no key survives a server with nothing on disk, and nothing else is lost."""
    allow, refuse, loud = (
        limits.limit("5/day", name="one", when_away="allow"),
        limits.limit("5/day", name="two", when_away="refuse"),
        limits.limit("5/day", name="three", when_away="raise"),
    )
    await counted_again(allow, "a")
    own_redis.kill()
    await away(allow, "a")
    for _ in range(20):
        assert await allow.check("a")
        assert not await refuse.check("a")
        with pytest.raises((StoreUnreachable, DeadlinePassed)):
            await loud.check("a")
    own_redis.start()
    await counted_again(allow, "b")
    await counted_again(refuse, "b")
    assert (await loud.check("b")).remaining == 4


async def test_a_frozen_redis_is_not_waited_for_by_each_call(own_redis: Server) -> None:
    """Once one deadline has passed, the breaker answers: a hundred calls in a row end, and thawed it counts again."""
    wire = Wire.at(own_redis.url, deadline=SHORT_SECONDS, clock=SystemClock(), telemetry=Telemetry())
    limit = Limits(wire).limit("1000000/day")
    await counted_again(limit, "a")
    own_redis.freeze()
    await away(limit, "a")
    async with asyncio.timeout(PATIENCE_SECONDS):
        # Each for itself they would take more than the test's patience.
        for _ in range(round(2 * PATIENCE_SECONDS / SHORT_SECONDS)):
            assert not (await limit.check("a")).checked
    own_redis.thaw()
    await counted_again(limit, "a")
    await wire.close()


async def test_what_is_held_here_is_used_though_redis_is_gone(own_redis: Server, wire: Wire) -> None:
    """Tokens that were counted before are as good as ever; then the limit's own choice begins."""
    # The clock stands still: nothing is given up, however slow the machine is.
    limit = Limits(wire, clock=StoppedClock()).limit("1000/day", local=500, when_away="raise")
    # Forty wait for one question, so that the next batch is of eighty.
    await asyncio.gather(*(limit.check("a") for _ in range(40)))
    assert (await limit.check("a")).remaining == 1_000 - 41
    own_redis.kill()
    for _ in range(79):
        assert (await limit.check("a")).checked
    with pytest.raises((StoreUnreachable, DeadlinePassed)):
        await limit.check("a")


async def test_a_full_redis_is_one_that_could_not_be_asked(own_redis: Server, limits: Limits) -> None:
    """It says no to every write: the choice decides, and who wants errors is told whose it is."""
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 1)
        decision = await limits.limit("5/day").check("a")
        assert (decision.allowed, decision.checked) == (True, False)
        with pytest.raises(CommandRefused, match="OOM"):
            await limits.limit("5/day", when_away="raise").check("a")
        client.config_set("maxmemory", 0)
    assert (await limits.limit("5/day").check("a")).remaining == 4


async def test_a_server_that_has_forgotten_the_script_is_given_it_again(own_redis: Server, limits: Limits) -> None:
    """No call is lost or counted twice by it."""
    limit = limits.limit("5/day", when_away="raise")
    assert (await limit.check("a")).remaining == 4
    with redis.Redis.from_url(own_redis.url) as client:
        client.script_flush()
    decisions = await asyncio.gather(*(limit.check("a") for _ in range(3)))
    assert sorted(one.remaining for one in decisions) == [1, 2, 3]
