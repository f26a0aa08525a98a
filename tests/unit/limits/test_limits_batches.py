"""Local batches: few questions for a hot key, and a bound for what is used late or given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.clock import StoppedClock
from tercet.errors import StoreUnreachable
from tercet.limits import Limits, Rate
from tercet.limits.batches import HOLD_SECONDS, KEYS_MAX


class Model(Protocol):
    """The model of conftest."""

    asked: list[tuple[bytes, ...]]
    away: bool
    gate: asyncio.Event | None


# One step of a run: who calls, what it costs, and how long nobody did before.
steps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.1, 0.4, 1.5, 5.0])),
    min_size=1,
    max_size=120,
)


async def test_a_hot_key_costs_a_round_trip_only_now_and_then(limits: Limits, model: Model) -> None:
    """Each batch that is used up is followed by one twice its size, up to `local`."""
    limit = limits.limit("10000/hour", local=20)
    for _ in range(1_000):
        assert (await limit.check("a")).allowed
    # 1, 2, 4, 8, 16 and then twenty at a time.
    assert len(model.asked) == 5 + -(-(1_000 - 31) // 20)


async def test_callers_at_the_same_time_share_one_question(limits: Limits, model: Model) -> None:
    """Sixty-four tasks ask once, and what comes is for all of them."""
    limit = limits.limit("1000/hour", local=64)
    decisions = await asyncio.gather(*(limit.check("a") for _ in range(64)))
    assert all(decisions)
    assert len(model.asked) == 1
    assert sorted(one.remaining for one in decisions) == list(range(1_000 - 64, 1_000))


async def test_a_quiet_key_takes_only_what_it_uses(limits: Limits, model: Model, clock: StoppedClock) -> None:
    """A call every two seconds takes one token each, whatever `local` allows."""
    limit = limits.limit("100/hour", local=50)
    for _ in range(20):
        assert (await limit.check("a")).allowed
        clock.advance(2.0)
    used = 20 - int(40.0 / 36.0)
    assert (await limits.limit("100/hour").peek("a")).remaining == 100 - used


async def test_near_the_end_every_token_is_taken_for_itself(limits: Limits, model: Model) -> None:
    """A batch that no longer fits does not refuse what one call still can have."""
    limit = limits.limit("50/hour", local=20)
    assert [bool(await limit.check("a")) for _ in range(60)] == [True] * 50 + [False] * 10


async def test_what_is_held_is_given_up_after_its_time(limits: Limits, clock: StoppedClock) -> None:
    """Nothing is used later than a hold time after it was counted."""
    limit = limits.limit("1000/day", local=10)
    for _ in range(1 + 2 + 4 + 1):
        await limit.check("a")
    batches: Any = limit._batches
    assert batches.held("a") == 7
    clock.advance(HOLD_SECONDS)
    assert batches.held("a") == 0
    assert (await limits.limit("1000/day").peek("a")).remaining == 1_000 - 15
    # What was not used last time is not taken again.
    await limit.check("a")
    assert (await limits.limit("1000/day").peek("a")).remaining == 1_000 - 16
    assert batches.held("a") == 0


async def test_a_call_that_fits_in_beside_what_is_held_fills_the_batch_up(limits: Limits) -> None:
    """Up to `local`, and not beyond it."""
    limit = limits.limit("1000/day", local=8)
    for _ in range(1 + 2 + 1):
        await limit.check("a")
    batches: Any = limit._batches
    assert batches.held("a") == 3
    assert await limit.check("a", cost=4)
    assert batches.held("a") == 8 - 4
    assert (await limits.limit("1000/day").peek("a")).remaining == 1_000 - (1 + 2 + 4 + 5)


async def test_never_more_is_held_than_was_allowed_and_nothing_is_lost_for_it(limits: Limits, model: Model) -> None:
    """A call that would not fit in beside what is held is asked for by itself, also if it is cancelled then."""
    limit = limits.limit("1000/day", local=4)
    for _ in range(1 + 2 + 1):
        await limit.check("a")
    batches: Any = limit._batches
    assert batches.held("a") == 3
    assert await limit.check("a", cost=4)
    assert batches.held("a") == 3
    model.gate, asked = asyncio.Event(), len(model.asked)
    cancelled = asyncio.create_task(limit.check("a", cost=4))
    while len(model.asked) == asked:
        await asyncio.sleep(0)
    cancelled.cancel()
    model.gate.set()
    await asyncio.gather(cancelled, return_exceptions=True)
    # Whatever was still under way for it has come by then.
    await limits.limit("1000/day").peek("a")
    assert batches.held("a") == 3
    assert [bool(await limit.check("a")) for _ in range(3)] == [True] * 3


async def test_a_refusal_is_known_until_it_may_have_ended(limits: Limits, model: Model, clock: StoppedClock) -> None:
    """Nobody asks Redis again what cannot have changed; the wait that is told counts down."""
    limit = limits.limit("2/second", local=2)
    assert [bool(await limit.check("a")) for _ in range(3)] == [True, True, False]
    asked = len(model.asked)
    waits = []
    for _ in range(4):
        waits.append((await limit.check("a")).retry_after)
        clock.advance(0.125)
    assert waits == [0.5, 0.375, 0.25, 0.125]
    assert len(model.asked) == asked
    assert (await limit.check("a")).allowed


async def test_a_refusal_is_not_believed_longer_than_a_batch_is_held(limits: Limits, clock: StoppedClock) -> None:
    """Another process may have reset the key."""
    limit = limits.limit("1/day", local=1)
    assert [bool(await limit.check("a")) for _ in range(2)] == [True, False]
    await limits.limit("1/day").reset("a")
    assert not await limit.check("a")
    clock.advance(HOLD_SECONDS)
    assert await limit.check("a")


async def test_a_refusal_of_much_does_not_refuse_little(limits: Limits) -> None:
    """And a call that costs more than is ever held goes past the batches."""
    limit = limits.limit("10/day", local=5)
    assert await limit.check("a", cost=8)
    assert not await limit.check("a", cost=3)
    assert await limit.check("a", cost=2)


async def test_what_is_held_is_used_while_redis_is_away(limits: Limits, model: Model) -> None:
    """Then the limit's own choice begins; all who waited are told, each for himself."""
    limit = limits.limit("100/day", local=8, when_away="raise")
    for _ in range(1 + 2 + 1):
        await limit.check("a")
    model.away = True
    for _ in range(3):
        assert (await limit.check("a")).checked
    failed = await asyncio.gather(*(limit.check("a") for _ in range(5)), return_exceptions=True)
    assert {type(one) for one in failed} == {StoreUnreachable}
    assert len({id(one) for one in failed}) == 5
    model.away = False
    assert (await limit.check("a")).checked


async def test_a_cancelled_caller_takes_nobody_with_it(limits: Limits, model: Model) -> None:
    """The question goes on for those who still wait, and for those who come."""
    limit = limits.limit("100/day", local=8)
    model.gate = asyncio.Event()
    first, second = (asyncio.create_task(limit.check("a")) for _ in range(2))
    while not model.asked:
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    model.gate.set()
    assert (await second).allowed
    assert len(model.asked) == 1


async def test_memory_for_keys_is_bounded(limits: Limits) -> None:
    """The key not used for longest is given up, with what is held of it."""
    limit = limits.limit("5/day", local=5)
    for number in range(KEYS_MAX + 10):
        await limit.check(f"user:{number}")
    batches: Any = limit._batches
    assert len(batches._batches) == KEYS_MAX
    assert "user:9" not in batches._batches
    assert "user:10" in batches._batches


async def test_a_fetch_that_stayed_behind_in_another_event_loop_is_not_waited_for(limits: Limits) -> None:
    """A limit outlives the loop that used it first, also one that ended in the middle of a fetch."""
    limit = limits.limit("100/day", local=8)
    batches: Any = limit._batches
    ended = asyncio.new_event_loop()
    batches._of("a").flight = ended.create_future()
    ended.close()
    assert await limit.check("a")


def test_three_processes_never_pass_more_than_the_limit_and_what_they_held(
    model: Model,
) -> None:
    """In any stretch of time: the exact bound, and `local` for each process; in total never more than was counted."""
    make: Callable[[StoppedClock], Any] = type(model)
    rate, local = Rate.of("10/second", burst=12), 4

    @given(steps)
    def holds(run: list[tuple[int, int, float]]) -> None:
        clock = StoppedClock()
        redis = make(clock)
        processes = [Limits(redis, clock=clock).limit(rate, local=local) for _ in range(3)]

        async def passed() -> list[tuple[float, int]]:
            found = []
            for who, cost, pause in run:
                clock.advance(pause)
                if await processes[who].check("a", cost=cost):
                    found.append((clock.monotonic(), cost))
                batches: Any = processes[who]._batches
                assert batches.held("a") <= local
            return found

        calls = asyncio.run(passed())
        for first, (begun, _) in enumerate(calls):
            total = 0
            for ended, cost in calls[first:]:
                total += cost
                exact = rate.burst + rate.count * (ended - begun)
                assert total <= exact + local * len(processes) + 1e-6
                assert total <= rate.burst + rate.count * (ended - begun + HOLD_SECONDS) + 1e-6

    holds()
