"""Health: what is judged well, warned of and failed, how often stores are asked, and when readiness turns."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.clock import StoppedClock
from tercet.errors import DeadlinePassed, LoginRefused, StoreUnreachable
from tercet.stores import Health, HealthCheck, PoolState, Readiness, Vital
from tercet.stores.health import DEADLINE_SECONDS, FRESH_SECONDS, judge, overall
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from tercet.telemetry.event import Store

WELL = Vital("18.6", "primary", 10, 100, 3)
FREE = PoolState("postgres", 20, 3, 17, 0)
FULL = PoolState("postgres", 20, 20, 0, 2)
SECRET = "hunter2secret"


class FakeProbe:
    """A probe that answers what it is told to, and counts."""

    def __init__(self, store: Store, answer: Vital | Exception = WELL) -> None:
        self.store: Store = store
        self.answer, self.asked, self.closed = answer, 0, 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def look(self) -> Vital:
        """Answer, once it is let."""
        self.asked += 1
        await self.hold.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        """Count."""
        self.closed += 1


def check(*probes: FakeProbe, clock: StoppedClock | None = None, **more: object) -> HealthCheck:
    """A check of these probes."""
    critical = more.get("critical")
    assert critical is None or isinstance(critical, dict)
    return HealthCheck(probes, clock=clock or StoppedClock(), telemetry=Telemetry(), critical=critical)


@pytest.mark.parametrize(
    ("answer", "pool", "status", "reason"),
    [
        (WELL, FREE, "pass", None),
        (WELL, None, "pass", None),
        (WELL, FULL, "warn", "every connection of the pool is out and callers wait"),
        (WELL, replace(FULL, waiting=0), "pass", None),
        (replace(WELL, connections_used=88), FREE, "warn", "the server has hardly a connection left"),
        (replace(WELL, connections_used=None), FREE, "pass", None),
        (replace(WELL, role="replica"), FREE, "warn", "the server is a replica and takes no writes"),
        (StoreUnreachable("postgres", reason=SECRET), FREE, "fail", "nobody answers"),
        (LoginRefused("postgres", reason=SECRET), FREE, "fail", "it does not let us in"),
        (DeadlinePassed("postgres", what=SECRET, deadline=1), FREE, "fail", "it did not answer in time"),
        (TimeoutError(), FREE, "fail", "it did not answer in time"),
        (ValueError(SECRET), FREE, "fail", "it answered with an error"),
    ],
)  # fmt: skip
def test_each_answer_is_judged_and_none_gives_a_text_of_the_driver(
    answer: Vital | Exception, pool: PoolState | None, status: str, reason: str | None
) -> None:
    """A fixed sentence and a class's name; what the driver said stays behind."""
    judged = judge("postgres", critical=True, latency=0.001, answer=answer, pool=pool)
    assert (judged.status, judged.reason) == (status, reason)
    assert SECRET not in repr(judged)
    assert (judged.error is None) == isinstance(answer, Vital)


def test_only_a_critical_store_fails_the_whole() -> None:
    """A store the program can do without makes a warning."""
    down = StoreUnreachable("redis", reason="x")
    for critical, status in ((True, "fail"), (False, "warn")):
        judged = judge("redis", critical=critical, latency=0.1, answer=down, pool=None)
        well = judge("postgres", critical=True, latency=0.1, answer=WELL, pool=FREE)
        assert overall([well, judged]) == status
    assert overall([]) == "pass"


async def test_all_are_asked_at_once_and_one_that_hangs_ends_at_its_deadline() -> None:
    """The whole takes one deadline, not three."""
    probes = [FakeProbe("postgres"), FakeProbe("mongo"), FakeProbe("redis")]
    probes[1].hold.clear()
    probes[2].hold.clear()
    started = asyncio.get_running_loop().time()
    health = await check(*probes).look()
    assert DEADLINE_SECONDS <= asyncio.get_running_loop().time() - started < 1.9 * DEADLINE_SECONDS
    assert [one.status for one in health.stores] == ["pass", "fail", "fail"]


async def test_stores_are_asked_once_a_second_however_many_ask() -> None:
    """Many callers, one look; and the answer is kept for as long as it is fresh."""
    probe, clock = FakeProbe("redis"), StoppedClock()
    one = check(probe, clock=clock)
    await asyncio.gather(*(one.look() for _ in range(50)))
    clock.advance(FRESH_SECONDS * 0.9)
    await one.look()
    assert probe.asked == 1
    clock.advance(FRESH_SECONDS * 0.2)
    await one.look()
    assert probe.asked == 2


async def test_a_caller_who_gives_up_does_not_end_the_look_for_the_others() -> None:
    """The flight goes on for whoever still waits."""
    probe = FakeProbe("redis")
    probe.hold.clear()
    one = check(probe)
    first, second = asyncio.create_task(one.look()), asyncio.create_task(one.look())
    await asyncio.sleep(0)
    first.cancel()
    probe.hold.set()
    assert (await second).status == "pass"
    assert first.cancelled()


async def test_closing_ends_a_look_and_lets_every_probe_go() -> None:
    """Nothing of it goes on."""
    probe = FakeProbe("redis")
    probe.hold.clear()
    one = check(probe)
    look = asyncio.create_task(one.look())
    await asyncio.sleep(0)
    await one.close()
    assert (await asyncio.gather(look, return_exceptions=True))[0].__class__ is asyncio.CancelledError
    assert probe.closed == 1


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_readiness_turns_only_after_enough_answers_of_one_kind(
    answers: list[bool], failures: int, successes: int
) -> None:
    """Hysteresis: the state is the one of the last run that was long enough."""
    readiness, expected = Readiness(ready=True), True
    for index, good in enumerate(answers):
        health = Health("pass" if good else "fail", StoppedClock().now(), ())
        readiness = readiness.after(health, failures=failures, successes=successes)
        need = successes if good else failures
        run = answers[max(0, index + 1 - need) : index + 1]
        if len(run) == need and set(run) == {good}:
            expected = good
        assert readiness.ready is expected
    assert readiness.http_status == (200 if expected else 503)


async def test_readiness_counts_looks_and_not_callers() -> None:
    """Ten questions within one second are one bad answer."""
    probe, clock = FakeProbe("redis", StoreUnreachable("redis", reason="x")), StoppedClock()
    one = check(probe, clock=clock)
    ready = [(await one.readiness()).ready for _ in range(10)]
    assert (set(ready), (await one.readiness()).failures) == ({True}, 1)
    for _ in range(2):
        clock.advance(2)
        state = await one.readiness()
    assert (state.ready, state.http_status) == (False, 503)


async def test_the_values_are_those_of_health_json() -> None:
    """application/health+json: status, and for each store what was observed, in which unit, when."""
    probe = FakeProbe("postgres", replace(WELL, role="replica"))
    one = HealthCheck([probe], clock=StoppedClock(), telemetry=Telemetry(), pools=lambda: (FREE,))
    values = json.loads(json.dumps((await one.look()).as_json()))
    time = "2024-01-01T00:00:00+00:00"
    assert values == {
        "status": "warn",
        "checks": {
            "postgres:responseTime": [
                {
                    "componentType": "datastore",
                    "status": "warn",
                    "time": time,
                    "output": "the server is a replica and takes no writes",
                    "observedValue": 0.0,
                    "observedUnit": "ms",
                    "role": "replica",
                }
            ],
            "postgres:poolConnections": [
                {
                    "componentType": "datastore",
                    "time": time,
                    "observedUnit": "connections",
                    "observedValue": 3,
                    "limit": 20,
                    "waiting": 0,
                }
            ],
            "postgres:serverConnections": [
                {
                    "componentType": "datastore",
                    "time": time,
                    "observedUnit": "connections",
                    "observedValue": 10,
                    "limit": 100,
                }
            ],
        },
    }


class FakeReplica(FakeProbe):
    """A probe of a replica."""

    replica = "b:5433"


async def test_a_replica_is_shown_beside_its_store_and_is_never_critical() -> None:
    """That it takes no writes is no worry, its pool is its own, and when it is away readers go to the primary."""
    replica, clock = FakeReplica("postgres", replace(WELL, role="replica")), StoppedClock()
    pools = (FREE, replace(FULL, replica="b:5433", waiting=0))
    looked = HealthCheck(
        [FakeProbe("postgres")], clock=clock, telemetry=Telemetry(), pools=lambda: pools, replicas=[replica]
    )
    health = await looked.look()
    first, second = health.stores
    assert health.store("postgres") is first
    assert (health.status, second.status, second.replica, second.pool) == ("pass", "pass", "b:5433", pools[1])
    checks = health.as_json()["checks"]
    assert isinstance(checks, dict)
    assert [one.get("componentId") for one in checks["postgres:responseTime"]] == [None, "b:5433"]
    assert [one["observedValue"] for one in checks["postgres:poolConnections"]] == [3, 20]
    replica.answer = StoreUnreachable("postgres", reason="x")
    clock.advance(FRESH_SECONDS)
    health = await looked.look()
    assert (health.status, health.stores[1].status, health.http_status) == ("warn", "fail", 200)
    await looked.close()
    assert replica.closed == 1
