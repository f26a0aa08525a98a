"""The planted cases: what is right for each is among what is proposed and found; each loads by itself."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Catalog, Example, Query
from tercet.advisor.candidates import housekeeping, propose
from tercet.advisor.catalog import Standing
from tercet.advisor.reading import read
from tercet.sql import Index, Statement

FOLDER = Path(__file__).parent / "planted"
CASES = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.toml"))]
FAMILIES = {
    "missing", "redundant", "wrong order", "expression", "trigram", "jsonb", "unused", "invalid", "foreign key",
    "optimal",
}  # fmt: skip
# What a case may have made, besides tables in public.
CLEAN = 'drop schema public cascade; create schema public; drop schema if exists "Sales Dept" cascade'


def _keys(index: Index) -> list[str]:
    return [key.sql().replace('"', "") for key in index.keys]


def _fits(index: Index, wanted: dict[str, Any]) -> bool:
    return (
        index.table[-1] == wanted["table"]
        and _keys(index) == wanted["columns"]
        and index.method == wanted.get("method", "btree")
        and (index.where or "").lower() == wanted.get("where", "")
        and set(index.include) == set(wanted.get("include", ()))
        and index.unique == wanted.get("unique", False)
    )


def _observed(catalog: Catalog, seen: dict[str, Any] | None) -> Catalog:
    """The catalogue with the counters that the case hands in."""
    if seen is None:
        return catalog

    def counted(one: Standing) -> Standing:
        return replace(one, scans=seen["scans"].get(one.index.name, 0))

    tables = {
        name: replace(
            table,
            activity=replace(table.activity, seconds=seen["days"] * 86_400.0, sequential_scans=seen["reads"]),
            indexes=tuple(counted(one) for one in table.indexes),
        )
        for name, table in catalog.tables.items()
    }
    return replace(catalog, tables=MappingProxyType(tables))


async def _loaded(connection: asyncpg.Connection[asyncpg.Record], case: dict[str, Any]) -> None:
    await connection.execute(CLEAN)
    await connection.execute(case["schema"])
    for one in Statement.split(case["data"]):  # VACUUM stands alone
        await connection.execute(one.text)
    await connection.execute("analyze")


def _missing(case: dict[str, Any], catalog: Catalog) -> list[str]:
    queries = [
        Query(Statement(one["sql"]), (Example(one["sql"]),), calls=one["calls"], ms=one["ms"])
        for one in case["statements"]
    ]
    found, proposed = housekeeping(catalog, queries), propose(queries, catalog)
    drops = {one.index.name for one in found if one.action == "drop"}
    made = [one.index for one in proposed] + [one.index for one in found if one.action in {"create", "rebuild"}]
    wrong = []
    for wanted in case["expected"]:
        if wanted["kind"] == "drop_index" and wanted["index"] not in drops:
            wrong.append(f"{case['name']}: {wanted['index']} is not among {drops}")
        if wanted["kind"] == "index" and not any(_fits(one, wanted) for one in made):
            wrong.append(f"{case['name']}: {wanted} is not among {[one.create() for one in made]}")
        if "replaces" in wanted:
            replaced = {name for one in proposed if _fits(one.index, wanted) for name in one.replaces}
            wrong += [f"{case['name']}: it replaces {replaced}" for _ in (1,) if replaced != set(wanted["replaces"])]
    due = {one["index"] for one in case["expected"] if one["kind"] == "drop_index"}
    return [*wrong, *(f"{case['name']}: {name} is to be dropped, and is needed" for name in drops - due)]


def test_there_are_thirty_of_all_families() -> None:
    """Each family that users meet is there, and each case has a reason."""
    assert len(CASES) >= 30
    assert {case["family"] for case in CASES} == FAMILIES
    assert all(case["note"] and case["statements"] and case["expected"] for case in CASES)


def test_what_is_right_is_among_what_is_proposed(postgres_url: str) -> None:
    """Every index that is due is proposed, every drop that is due is found, and no other drop."""

    async def work() -> list[str]:
        connection = await asyncpg.connect(postgres_url)
        wrong: list[str] = []
        async with Tercet(postgres=postgres_url) as db:
            for case in CASES:
                await _loaded(connection, case)
                wrong += _missing(case, _observed(await read(db.postgres), case.get("observed")))
        await connection.close()
        return wrong

    assert asyncio.run(work()) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_each_case_can_be_read(case: dict[str, Any]) -> None:
    """Its statements are statements, and its advice is of a kind that the advisor gives."""
    assert all(Statement(one["sql"]).kind in {"select", "delete"} for one in case["statements"])
    assert {one["kind"] for one in case["expected"]} <= {"index", "drop_index", "none"}
