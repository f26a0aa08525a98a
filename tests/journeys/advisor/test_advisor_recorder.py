"""The recorder, listening to SQLAlchemy on a real server."""

from __future__ import annotations

import datetime as dt
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Date, Integer, MetaData, Table, Text, bindparam, column, create_engine, insert, select, text
from sqlalchemy.schema import Column

from tercet import Tercet
from tercet.advisor.workload import Recorder, postgres_recorder

_orders = Table("orders", MetaData(), Column("id", Integer), Column("status", Text), Column("at", Date))


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A database with a table."""
    async with Tercet(postgres=postgres_url) as opened:
        async with opened.postgres.transaction() as connection:
            await connection.run_sync(_orders.metadata.create_all)
        yield opened


async def _of_a_day(db: Tercet, status: str) -> None:
    async with db.postgres.session() as session:
        day = dt.date(2024, 1, 2)
        await session.execute(select(_orders).where(_orders.c.status == status, _orders.c.at > day))


async def test_statements_come_with_their_values_times_and_places(db: Tercet) -> None:
    """Each is folded, counted and timed, and names the line of the program that asks it."""
    recorder = Recorder()
    with recorder.recording(db.postgres.engine):
        for status in ("active", "it's", "back\\slash"):
            await _of_a_day(db, status)
    await _of_a_day(db, "not heard")
    (query,) = recorder.workload().queries
    assert query.calls == 3
    assert query.ms is not None
    assert query.ms > 0
    here = f"{Path(__file__).parent.name}/{Path(__file__).name}:"
    assert [one.startswith(here) for one in query.sites] == [True]
    texts = "\n".join(one.sql for one in query.examples)
    assert "'it''s'" in texts
    assert "'2024-01-02'" in texts
    assert r"E'back\\slash'" in texts
    assert "not heard" not in texts
    async with db.postgres.connection() as connection:
        for one in query.examples:
            await connection.exec_driver_sql(f"explain {one.sql}")


async def test_many_rows_at_once_are_as_many_calls(db: Tercet) -> None:
    """executemany counts each set of values."""
    recorder = Recorder()
    with recorder.recording(db.postgres.engine):
        async with db.postgres.transaction() as connection:
            await connection.execute(insert(_orders), [{"id": number, "status": "x"} for number in range(5)])
            await connection.execute(
                _orders.update().where(column("id") == bindparam("b_id")).values(status=bindparam("b_status")),
                [{"b_id": number, "b_status": "y"} for number in range(4)],
            )
    calls = {query.statement.kind: query.calls for query in recorder.workload().queries}
    assert calls["update"] == 4
    assert calls["insert"] >= 1


async def test_another_driver_has_its_parameters_numbered(db: Tercet, postgres_url: str) -> None:
    """psycopg writes %(name)s and %s; a percent sign is written twice."""
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://", 1))
    recorder = Recorder()
    try:
        with recorder.recording(engine), engine.connect() as connection:
            connection.execute(text("select id from orders where status like '%x' and id = :id or id = :id"), {"id": 7})
            connection.exec_driver_sql("select at from orders where id = %s and status = %s", (1, None))
    finally:
        engine.dispose()
    found = {one.sql for query in recorder.workload().queries for one in query.examples}
    assert "select at from orders where id = '1' and status = null" in found
    assert any("like '%x' and id = '7'" in sql and "or id = '7'" in sql for sql in found)


async def test_what_is_kept_is_bounded(db: Tercet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that puts values into its texts fills nothing, and what was not heard is told."""
    monkeypatch.setattr(postgres_recorder, "TEXTS_MAX", 10)
    recorder = Recorder()
    with recorder.recording(db.postgres.engine):
        async with db.postgres.connection() as connection:
            for number in range(25):
                await connection.exec_driver_sql(f"select id from orders where id = {number}")
            for number in range(200):
                await connection.exec_driver_sql("select id from orders where id = $1", (number,))
    assert len(recorder._heard) == 10
    workload = recorder.workload()
    assert workload.queries[0].calls == 10
    assert "215 statements" in workload.skipped[0].why


async def test_a_statement_that_fails_is_not_counted_and_nothing_stays_behind(db: Tercet) -> None:
    """The engine has its listeners no more, whatever happened."""
    recorder = Recorder()
    before = len(db.postgres.engine.sync_engine.dispatch.after_cursor_execute)
    with pytest.raises(Exception, match="nope"), recorder.recording(db.postgres.engine):
        async with db.postgres.connection() as connection:
            await connection.exec_driver_sql("select nope from orders")
    gc.collect()
    assert recorder.workload().queries == ()
    assert len(db.postgres.engine.sync_engine.dispatch.after_cursor_execute) == before
