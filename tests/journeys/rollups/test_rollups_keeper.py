"""The keeper on a real server: one of all does the work, the others rest, and nobody's end ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import get_args

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.advisor.views.policy import Policy, Way
from tercet.clock import StoppedClock
from tercet.errors import NotOpen, SettingInvalid, UsageError
from tercet.rollups import Keeper, Measure, Rollup, age, apply_view, create_rollup, create_view, planned
from tercet.sql import View
from tercet.telemetry import Event, Operation, Telemetry

TOTALS = View("totals", "select user_id, count(*) as n from orders group by user_id", key=("user_id",))
LOGGED = Rollup("logged", "orders", ("user_id",), {"n": Measure("count")}, way="delta", exact=False)

# Both cores may be taken: nothing here is about how fast it is.
PATIENCE_SECONDS = 60.0


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """Orders of two users."""
    async with Tercet(postgres=postgres_url) as db:
        await _do(db, "create table orders (user_id int, total int)")
        await _do(db, "insert into orders values (1, 1), (2, 2)")
        yield db


async def _do(db: Tercet, statement: str) -> list[tuple[object, ...]]:
    async with db.postgres.transaction() as connection:
        answer = await connection.exec_driver_sql(statement)
        return [tuple(row) for row in answer.all()] if answer.returns_rows else []


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


async def _until_counted(db: Tercet, what: str, rows: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await _do(db, f"select sum(n) from {what}") != [(rows,)]:
            await asyncio.sleep(0.01)


async def test_what_is_kept_follows_its_table_until_the_keeper_closes(db: Tercet) -> None:
    """A view by refreshes and a rollup by merges, also one that is added later."""
    await create_view(db.postgres, TOTALS)
    await create_rollup(db.postgres, LOGGED)
    async with Keeper(db.postgres) as keeper:
        keeper.keep(TOTALS, every="100ms")
        keeper.keep(LOGGED, every=0.1)
        for rows in (3, 4):
            await _do(db, "insert into orders values (3, 3)")
            await _until_counted(db, "totals", rows)
            await _until_counted(db, "logged", rows)
        assert {one.name: one.failures for one in keeper.kept()} == {TOTALS.qualified: 0, LOGGED.qualified: 0}
    assert {one.state for one in keeper.kept()} == {"closed"}
    with pytest.raises(NotOpen):
        keeper.keep(View("others", TOTALS.query, ("user_id",)), every="1s")
    await keeper.close()


async def test_of_two_handles_one_works_and_the_other_takes_over(db: Tercet, postgres_url: str) -> None:
    """Within an interval the second finds it done; when the first is gone, it does it."""
    await create_view(db.postgres, TOTALS)
    async with Tercet(postgres=postgres_url) as other:
        first, second = Keeper(db.postgres), Keeper(other.postgres)
        for keeper in (first, second):
            keeper.keep(TOTALS, every="150ms")
            keeper.open()
        await _until(lambda: first.kept()[0].work + second.kept()[0].work >= 4)
        await first.close()
        done = second.kept()[0].work
        await _until(lambda: second.kept()[0].work > done)
        await _do(db, "insert into orders values (3, 3)")
        await _until_counted(db, "totals", 3)
        await second.close()


async def test_who_finds_somebody_at_it_rests_and_looks_again(db: Tercet) -> None:
    """Two never overlap, and the one that holds it may vanish at any time."""
    await create_view(db.postgres, TOTALS)
    await _do(db, "update tercet.rollups set as_of = as_of - interval '1 day'")
    keeper = Keeper(db.postgres)
    keeper.keep(TOTALS, every="300ms")
    text = "select pg_advisory_xact_lock(hashtextextended('the refresh of the materialized view \"totals\"', 0))"
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql(text)
        keeper.open()
        await _until(lambda: keeper.kept()[0].state == "resting")
        assert keeper.kept()[0].work == 0
        assert keeper.kept()[0].well
    await _until(lambda: keeper.kept()[0].work > 0)
    await keeper.close()


async def test_a_failure_is_told_and_tried_again_later_each_time(db: Tercet) -> None:
    """Pauses grow, the class of the error is shown and told, and success ends it."""
    heard: list[Event] = []
    telemetry = Telemetry()
    telemetry.listen(heard.append)
    pauses: list[float] = []
    go = asyncio.Semaphore(0)

    async def sleep(pause: float) -> None:
        pauses.append(pause)
        await go.acquire()

    keeper = Keeper(db.postgres, telemetry=telemetry, sleep=sleep)
    keeper.keep(TOTALS, every="60s")
    keeper.open()
    for failures in (1, 2, 3):
        await _until(lambda: len(pauses) >= failures)  # noqa: B023 - waited for at once
        state = keeper.kept()[0]
        assert (state.state, state.failures, state.error, state.well) == ("failing", failures, "UsageError", False)
        if failures < 3:
            go.release()
    assert [1 <= pause / 2**tries <= 1.1 for tries, pause in enumerate(pauses)] == [True, True, True]
    await create_view(db.postgres, TOTALS)
    await _do(db, "update tercet.rollups set as_of = as_of - interval '1 day'")
    go.release()
    await _until(lambda: len(pauses) == 4)
    assert keeper.kept()[0].well
    assert pauses[3] > 10
    told = [(one.name, one.outcome) for one in heard if isinstance(one, Operation) and one.room == "rollups"]
    assert told == [("refresh", "failed")] * 3 + [("refresh", "ok")]
    await keeper.close()


async def test_a_refresh_that_takes_longer_than_its_interval_is_said(
    db: Tercet, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, in the log, and by its state; it still gets its pauses."""

    class Slow(StoppedClock):
        def monotonic(self) -> float:
            self.advance(5.0)
            return super().monotonic()

    pauses: list[float] = []

    async def sleep(pause: float) -> None:
        pauses.append(pause)
        await asyncio.sleep(0.5 if len(pauses) < 3 else 3600)

    await create_view(db.postgres, TOTALS)
    await _do(db, "update tercet.rollups set as_of = as_of - interval '1 day'")
    keeper = Keeper(db.postgres, clock=Slow(), sleep=sleep)
    keeper.keep(TOTALS, every=0.4)
    with caplog.at_level(logging.WARNING, "tercet.rollups"):
        keeper.open()
        await _until(lambda: len(pauses) >= 3)
    assert keeper.kept()[0].late
    assert not keeper.kept()[0].well
    assert [record.message for record in caplog.records if "takes 5 s, longer than" in record.message]
    assert len([one for one in caplog.records if "longer than" in one.message]) == 1
    await keeper.close()


async def test_what_needs_no_keeper_or_cannot_be_kept_is_refused(db: Tercet) -> None:
    """Triggers keep by themselves, an interval has a least length, and each view is kept once."""
    keeper = Keeper(db.postgres)
    with pytest.raises(UsageError, match="is kept by triggers"):
        keeper.keep(Rollup("r", "orders", ("user_id",), {"n": Measure("count")}), every="1s")
    with pytest.raises(SettingInvalid):
        keeper.keep(TOTALS, every=0)
    keeper.keep(TOTALS, every="1s")
    with pytest.raises(UsageError, match="is kept already"):
        keeper.keep(TOTALS, every="2s")
    await keeper.close()


@pytest.mark.parametrize("way", get_args(Way))
async def test_an_advised_view_is_made_and_kept_as_its_policy_says(db: Tercet, way: Way) -> None:
    """Whatever keeps it, a statement over it finds the same rows."""
    policy = Policy(way, "because", every=0.2 if way not in {"once", "triggers"} else None)
    async with Keeper(db.postgres) as keeper:
        await apply_view(db.postgres, TOTALS, policy, keeper=keeper)
        assert isinstance(planned(TOTALS, policy), Rollup) is (way in {"delta", "triggers"})
        assert len(keeper.kept()) == (policy.every is not None)
        await _do(db, "insert into orders values (2, 5)")
        if way != "once":
            await _until_counted(db, "totals", 3)
        assert await _do(db, "select user_id from totals order by n, user_id") == [(1,), (2,)]
        assert await age(db.postgres, planned(TOTALS, policy)) is not None


async def test_a_tercet_keeps_from_its_opening_to_its_close(db: Tercet, postgres_url: str) -> None:
    """What is declared before it opens, and what comes later."""
    await create_view(db.postgres, TOTALS)
    await create_rollup(db.postgres, LOGGED)
    service = Tercet(postgres=postgres_url)
    service.keep(TOTALS, every="100ms")
    async with service:
        service.keep(LOGGED, every="100ms")
        await _do(db, "insert into orders values (3, 3)")
        await _until_counted(db, "totals", 3)
        await _until_counted(db, "logged", 3)
    assert {one.state for one in service.keeper.kept()} == {"closed"}
