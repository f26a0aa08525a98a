"""The planted cases, each in a database of its own: is the advice right, and is there none where none is due?

.venv-bench/bin/python bench/advisor/planted.py [--json FILE]

The cases are those of the tests. Each is asked twice through the advisor's face: trusting the planner, and with
everything run on a copy, where what does not hold is withdrawn. Where a case needs counters of weeks, it hands them in.
"""

from __future__ import annotations

import time
import tomllib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import asyncpg
import part
from server import running

from tercet import Tercet
from tercet.advisor import Example, Query, Workload, advise, advisor
from tercet.advisor.reading import read
from tercet.sql import Index, Statement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from part import Answers, Options
    from server import Server

    from tercet.advisor import Advice, Catalog, Piece
    from tercet.advisor.catalog import Standing
    from tercet.advisor.flow.draft import Verification

CASES = Path(__file__).parents[2] / "tests" / "cases" / "advisor" / "planted"
WAYS: Mapping[str, Verification] = {"planned": "off", "run": "sample"}
# With --quick: one of several families.
QUICK_CASES = ("missing_equality", "duplicate", "optimal_tiny", "unused")


async def measure(options: Options) -> Answers:
    """On the server of the wheel."""
    cases = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(CASES.glob("*.toml"))]
    if options.quick:
        cases = [case for case in cases if case["name"] in QUICK_CASES]
    answers: Answers = {"cases": len(cases), "ways": {}}
    async with running() as server:
        answers["servers"] = [server.name]
        for way, verify in WAYS.items():
            began = time.perf_counter()
            wrong = {case["name"]: told for case in cases if (told := await _asked(server, case, verify))}
            print(f"{way}: {len(cases) - len(wrong)} of {len(cases)} right {wrong or ''}", flush=True)
            undue = [name for case in cases if (name := case["name"]) in wrong and not _due(case)]
            answers["ways"][way] = {
                "right": len(cases) - len(wrong), "of": len(cases), "none_due": sum(not _due(one) for one in cases),
                "undue": undue, "wrong": wrong, "seconds": time.perf_counter() - began,
            }  # fmt: skip
    return answers


async def _asked(server: Server, case: Mapping[str, Any], verify: Verification) -> list[str]:
    """What is wrong with the advice for this case."""
    url = await server.database("planted")
    connection = await asyncpg.connect(url)
    try:
        # What is not on the disk yet, VACUUM does not call visible to all.
        await connection.execute("set synchronous_commit = on")
        await connection.execute(case["schema"])
        for one in Statement.split(case["data"]):  # VACUUM stands alone
            await connection.execute(one.text)
        await connection.execute("analyze")
    finally:
        await connection.close()
    queries = [
        Query(Statement(one["sql"]), (Example(one["sql"]),), calls=one["calls"], ms=one["ms"])
        for one in case["statements"]
    ]
    async with Tercet(postgres=url) as db:
        with _observed(case.get("observed")):
            advice = await advise(db, Workload(tuple(queries), case["name"]), verify=verify)
    return _wrong(case, advice)


def _wrong(case: Mapping[str, Any], advice: Advice) -> list[str]:
    due = _due(case)
    found = [f"not advised: {wanted}" for wanted in due if not any(_fits(one, wanted) for one in advice.pieces)]
    # An index that takes another's place lets that one go.
    due += [{"kind": "drop_index", "index": name} for wanted in due for name in wanted.get("replaces", ())]
    undue = [one for one in advice.pieces if not any(_fits(one, wanted) for wanted in due)]
    return found + [f"undue: {one.kind}: {'; '.join(one.ddl)}: {one.why}" for one in undue]


def _due(case: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in case["expected"] if one["kind"] != "none"]


def _fits(piece: Piece, wanted: Mapping[str, Any]) -> bool:
    index = piece.value
    if piece.kind != wanted["kind"] or not isinstance(index, Index):
        return False
    if piece.kind == "drop_index":
        return bool(index.name == wanted["index"])
    if "rebuilds" in wanted and index.name != wanted["rebuilds"]:
        return False
    return any(_like(index, {**wanted, **other}) for other in ({}, *wanted.get("accept", ())))


def _like(index: Index, wanted: Mapping[str, Any]) -> bool:
    return bool(
        index.table[-1] == wanted["table"]
        and [key.sql().replace('"', "") for key in index.keys] == wanted["columns"]
        and index.method == wanted.get("method", "btree")
        and (index.where or "").lower() == wanted.get("where", "")
        and set(index.include) == set(wanted.get("include", ()))
        and index.unique == wanted.get("unique", False)
    )


def _observed(seen: Mapping[str, Any] | None) -> AbstractContextManager[object]:
    """Let the advisor read counters of so many days: nobody waits for them."""
    if seen is None:
        return nullcontext()

    async def reading(database: Any, **options: Any) -> Catalog:
        catalog = await read(database, **options)
        tables = {
            name: replace(
                table,
                activity=replace(table.activity, seconds=seen["days"] * 86_400.0, sequential_scans=seen["reads"]),
                indexes=tuple(_counted(one, seen["scans"]) for one in table.indexes),
            )
            for name, table in catalog.tables.items()
        }
        return replace(catalog, tables=MappingProxyType(tables))

    return patch.object(advisor, "read", reading)


def _counted(one: Standing, scans: Mapping[str, int]) -> Standing:
    return replace(one, scans=scans.get(one.index.name, 0))


if __name__ == "__main__":
    part.main(__doc__, measure)
