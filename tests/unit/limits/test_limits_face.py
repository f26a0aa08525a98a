"""The face: what a limit says, what it refuses to be, and what it does when Redis is away."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

import pytest

from tercet.clock import StoppedClock
from tercet.errors import RateExceeded, SettingInvalid, StoreUnreachable, UsageError
from tercet.limits import Decision, Limits, Rate
from tercet.limits.limits import LIMITS_KEPT, RATES_MAX
from tercet.telemetry import Event, LimitChecked, Telemetry


class Model(Protocol):
    """The model of conftest."""

    asked: list[tuple[bytes, ...]]
    away: bool
    gate: asyncio.Event | None


async def test_calls_pass_until_the_burst_is_used_and_again_after_retry_after(
    limits: Limits, clock: StoppedClock
) -> None:
    """Refused calls are not counted: the wait does not grow by asking."""
    limit = limits.limit("3/minute")
    assert [(await limit.check("user:1")).remaining for _ in range(3)] == [2, 1, 0]
    refused = [await limit.check("user:1") for _ in range(50)]
    assert set(refused) == {Decision(False, 0, retry_after=20.0, reset_after=60.0, limit=3)}
    clock.advance(20.0)
    assert await limit.check("user:1") == Decision(True, 0, retry_after=0.0, reset_after=60.0, limit=3)


async def test_keys_are_counted_each_for_itself(limits: Limits) -> None:
    """One user's calls are nobody else's."""
    limit = limits.limit("1/minute")
    assert (await limit.check("user:1")).allowed
    assert (await limit.check("user:2")).allowed
    assert not (await limit.check("user:1")).allowed


async def test_several_rates_are_taken_together_or_not_at_all(limits: Limits, clock: StoppedClock) -> None:
    """What the hour refuses has cost the second nothing."""
    limit = limits.limit("3/hour", "2/second")
    assert [(await limit.check("a")).allowed for _ in range(3)] == [True, True, False]
    clock.advance(1.0)
    assert (await limit.check("a")).allowed
    refused = [await limit.check("a") for _ in range(10)]
    assert not any(refused)
    assert refused[0].retry_after == 1200.0 - 1.0
    assert refused[0].limit == 3
    # Had the refused ones cost, the second would be used up.
    assert (await limits.limit("3/hour", "2/second").peek("a")).reset_after > 3000


async def test_a_call_costs_what_it_says(limits: Limits) -> None:
    """A refused cost leaves enough for a smaller one."""
    limit = limits.limit("10/minute")
    assert (await limit.check("a", cost=7)).remaining == 3
    assert not (await limit.check("a", cost=4)).allowed
    assert (await limit.check("a", cost=3)).allowed


async def test_looking_changes_nothing_and_says_what_a_call_would_be_told(limits: Limits) -> None:
    """Also for a cost that would be refused."""
    limit = limits.limit("10/minute")
    await limit.check("a", cost=8)
    looked = {await limit.peek("a") for _ in range(20)}
    assert looked == {Decision(True, 2, retry_after=0.0, reset_after=48.0, limit=10)}
    assert await limit.peek("a", cost=3) == Decision(False, 2, retry_after=6.0, reset_after=48.0, limit=10)
    assert (await limit.check("a", cost=2)).allowed


async def test_a_reset_gives_the_whole_burst_back(limits: Limits) -> None:
    """To this key, and no other."""
    limit = limits.limit("2/hour")
    for key in ("a", "a", "b", "b"):
        await limit.check(key)
    await limit.reset("a")
    assert (await limit.check("a")).remaining == 1
    assert not (await limit.check("b")).allowed


async def test_a_hit_raises_with_the_time_to_wait_and_not_with_the_key(limits: Limits) -> None:
    """A key may be a person's address: it is not in the sentence."""
    limit = limits.limit("1/minute")
    assert (await limit.hit("mail:a@example.com")).allowed
    with pytest.raises(RateExceeded) as caught:
        await limit.hit("mail:a@example.com")
    assert caught.value.retry_after == 60.0
    assert caught.value.retryable
    assert str(caught.value) == "More than 1/minute was asked for; this call was not counted. Ask again in 60 s."


async def test_the_burst_is_that_of_the_shortest_period(limits: Limits) -> None:
    """How many may come at once, whatever the order in which the rates are written."""
    for limit in (
        limits.limit("100/hour", "1/second", burst=5),
        limits.limit("100/hour", Rate.of("1/second", burst=5), name="own"),
    ):
        assert [(await limit.check("a")).allowed for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize("cost", [0, -1, 1.5, "1", None])
async def test_a_cost_that_cannot_be_is_refused(limits: Limits, cost: Any) -> None:
    """Nothing is no cost, for there is peek."""
    limit = limits.limit("10/minute")
    with pytest.raises(UsageError, match="peek"):
        await limit.check("a", cost=cost)


async def test_a_cost_above_the_burst_is_an_error_of_the_program(limits: Limits, model: Model) -> None:
    """It could never pass, however long one waits; the smallest burst decides."""
    limit = limits.limit("10/second", "5/minute")
    with pytest.raises(UsageError, match=r"can never pass 10/second, 5/minute, of which 5 may come at once.*burst="):
        await limit.check("a", cost=6)
    with pytest.raises(UsageError, match="can never pass"):
        await limit.peek("a", cost=6)
    assert model.asked == []


@pytest.mark.parametrize(
    ("rates", "options", "says"),
    [
        ((), {}, "0 of them"),
        (("1/second",) * (RATES_MAX + 1), {}, "1 to 8"),
        ((["1/second"],), {}, "100/minute"),
        (("5/second",), {"when_away": "alow"}, "'allow', 'refuse' or 'raise'"),
        (("5/second",), {"local": 6}, "from 0 to the burst, 5"),
        (("5/second",), {"local": -1}, "from 0 to the burst"),
        (("5/second",), {"local": 1.5}, "from 0 to the burst"),
        (("5/second",), {"name": "a:b"}, "64 letters"),
        (("5/second",), {"burst": 0}, "burst"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused_when_it_is_made(
    limits: Limits, rates: Any, options: Any, says: str
) -> None:
    """Each error says what would be right."""
    with pytest.raises(SettingInvalid, match=says):
        limits.limit(*rates, **options)


def test_a_namespace_that_could_meet_another_s_keys_is_refused(model: Any) -> None:
    """It is the beginning of every key."""
    with pytest.raises(SettingInvalid, match="namespace"):
        Limits(model, namespace="shop:")


def test_the_same_words_give_the_same_limit_and_memory_is_bounded(limits: Limits) -> None:
    """A limit may be asked for in every request; one that is made out of data does not fill the memory."""
    first = limits.limit("10/second", name="api")
    assert limits.limit("10/second", name="api") is first
    assert limits.limit("10/second", name="other") is not first
    assert repr(first) == "Limit('api')"
    for count in range(1, 2 * LIMITS_KEPT):
        limits.limit(f"{count}/second")
    assert len(limits._made) == LIMITS_KEPT


async def test_an_away_redis_lets_through_refuses_or_raises_as_was_chosen(limits: Limits, model: Model) -> None:
    """And the decision says that nobody has counted."""
    model.away = True
    allowed = await limits.limit("5/second").check("a")
    assert allowed == Decision(True, 0, retry_after=0.0, reset_after=0.0, limit=5, checked=False)
    refused = await limits.limit("5/second", when_away="refuse").check("a")
    assert refused == Decision(False, 0, retry_after=1.0, reset_after=1.0, limit=5, checked=False)
    with pytest.raises(StoreUnreachable):
        await limits.limit("5/second", when_away="raise").check("a")
    assert not (await limits.limit("5/second").peek("a")).checked
    with pytest.raises(RateExceeded):
        await limits.limit("5/second", when_away="refuse").hit("a")
    with pytest.raises(StoreUnreachable):
        await limits.limit("5/second").reset("a")


async def test_the_log_is_told_once_that_redis_is_away(
    limits: Limits, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with every call; and again when it has been back."""
    limit = limits.limit("100/second", name="api")
    with caplog.at_level(logging.WARNING, "tercet.limits"):
        for away in (True, True, True, False, True):
            model.away = away
            await limit.check("a")
    assert [record.getMessage() for record in caplog.records] == [
        "Limit('api') cannot be checked (StoreUnreachable): calls are let through"
    ] * 2


async def test_a_change_of_count_keeps_the_share_that_was_used_of_a_named_limit(limits: Limits) -> None:
    """60 of 100 become 120 of 200; without a name another rate is another limit."""
    await limits.limit("100/day", name="api").check("a", cost=60)
    assert (await limits.limit("200/day", name="api").peek("a")).remaining == 80
    assert (await limits.limit("100/day").peek("a")).remaining == 100


async def test_checks_are_told_with_what_came_out(limits: Limits, model: Model, telemetry: Telemetry) -> None:
    """By the name of the limit, never by the key."""
    told: list[Event] = []
    telemetry.listen(told.append)
    limit = limits.limit("1/second", name="api")
    for away in (False, False, True):
        model.away = away
        await limit.check("a")
    assert told == [
        LimitChecked("api", "allowed", checked=True),
        LimitChecked("api", "refused", checked=True),
        LimitChecked("api", "allowed", checked=False),
    ]
