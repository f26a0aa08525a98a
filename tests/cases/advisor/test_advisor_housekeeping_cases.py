"""The case file of the indexes that are there: what is found about them, and what is not."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg

from tercet import Tercet
from tercet.advisor import Catalog, Example, Query
from tercet.advisor.candidates import Finding, housekeeping
from tercet.advisor.reading import read
from tercet.sql import Statement

CASES = Path(__file__).parent / "candidates" / "housekeeping.toml"
# What each case makes, and the next one must not find.
CLEAN = "drop index if exists a; drop index if exists b, c, d, e"


def _shown(found: Finding) -> str:
    instead = f" -> {', '.join(found.instead)}" if found.instead else ""
    return f"{found.kind} {found.action} {found.index.name}{instead}"


def _observed(catalog: Catalog, case: dict[str, Any]) -> Catalog:
    """The catalogue as if its counters had run for the case's days and reads, and nothing had been deleted."""
    tables = {
        name: replace(
            table,
            activity=replace(
                table.activity,
                seconds=case.get("days", 1) * 86_400.0,
                sequential_scans=case.get("reads", 0),
                index_scans=0,
                deleted=0,
            ),
            indexes=tuple(replace(one, scans=0) for one in table.indexes),
        )
        for name, table in catalog.tables.items()
    }
    return replace(catalog, tables=MappingProxyType(tables))


async def _found(url: str, case: dict[str, Any]) -> tuple[Finding, ...]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(case.get("before", "select 1"))
        async with Tercet(postgres=url) as db:
            catalog = _observed(await read(db.postgres), case)
        found = housekeeping(catalog, [Query(Statement(text), (Example(text),)) for text in case.get("statements", ())])
        for one in found:
            await _done_and_undone(connection, one)
        await connection.execute(case.get("after", "select 1"))
        await connection.execute(CLEAN)
    finally:
        await connection.close()
    return found


async def _done_and_undone(connection: asyncpg.Connection[asyncpg.Record], one: Finding) -> None:
    """The statements of a finding are statements; what it drops comes back as it was."""
    seen = "select indexdef from pg_indexes where indexname = $1"
    before = await connection.fetchval(seen, one.index.name)
    for statement in one.ddl:
        await connection.execute(statement)
    for statement in one.undo:
        await connection.execute(statement)
    assert await connection.fetchval(seen, one.index.name) == before


def test_what_is_found_about_indexes_that_are_there(postgres_url: str) -> None:
    """Each case finds what it says and nothing else, with a reason, and its statements do what they say."""
    file = tomllib.loads(CASES.read_text(encoding="utf-8"))

    async def work() -> list[str]:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(file["schema"])
        await connection.close()
        wrong = []
        for case in file["case"]:
            found = await _found(postgres_url, case)
            if sorted(map(_shown, found)) != sorted(case["found"]):
                wrong.append(f"{case['name']}: {[*map(_shown, found)]}")
            if not all(one.why and one.minded and one.ddl for one in found):
                wrong.append(f"{case['name']}: not said why")
        return wrong

    assert asyncio.run(work()) == []


async def test_on_a_replica_no_index_is_called_unused(postgres_url: str) -> None:
    """It does not count what its primary reads."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("create table t (x int, y int); create index t_x on t (x)")
    await connection.close()
    async with Tercet(postgres=postgres_url) as db:
        catalog = _observed(await read(db.postgres), {"days": 30, "reads": 20_000})
    assert [_shown(one) for one in housekeeping(catalog, ())] == ["unused drop t_x"]
    assert housekeeping(replace(catalog, standby=True), ()) == ()
