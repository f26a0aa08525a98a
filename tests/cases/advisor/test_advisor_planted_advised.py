"""The planted cases from end to end: the right advice in each, and none where none is due."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.advisor import Catalog, Example, Piece, Query, Workload
from tercet.advisor.advisor import advised
from tercet.advisor.catalog import Standing
from tercet.advisor.flow.draft import Verification, Wishes
from tercet.advisor.reading import read
from tercet.advisor.shadow import shadow
from tercet.sql import Index, Plan, Statement, identifier
from tercet.sql.tree import Tree, parse, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tercet.advisor import Advice, WhatIf

pytestmark = pytest.mark.asyncio(loop_scope="module")

CASES = [
    tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "planted").glob("*.toml"))
]
# There for all, and for each case told as it is there.
EXTENSION = "pg_trgm"
STILL = """
    do $$ declare t regclass; begin
        for t in select oid from pg_class where relkind = 'r' and relnamespace::regnamespace::text !~ '^pg_|^info' loop
            execute format('alter table %s set (autovacuum_enabled = false)', t);
        end loop;
    end $$
"""


def fits(piece: Piece, wanted: Mapping[str, Any]) -> bool:
    """Whether this piece is what the case wants."""
    index = piece.value
    if piece.kind != wanted["kind"] or not isinstance(index, Index):
        return False
    if piece.kind == "drop_index":
        return index.name == str(wanted["index"])
    if "rebuilds" in wanted and index.name != wanted["rebuilds"]:
        return False
    others = ({"table": wanted["table"], **other} for other in wanted.get("accept", ()))
    return any(_like(index, one) for one in (wanted, *others))


def _like(index: Index, wanted: Mapping[str, Any]) -> bool:
    return (
        index.table[-1] == str(wanted["table"])
        and [key.sql().replace('"', "") for key in index.keys] == wanted["columns"]
        and index.method == wanted.get("method", "btree")
        and (index.where or "").lower() == wanted.get("where", "")
        and set(index.include) == set(wanted.get("include", ()))
        and index.unique == wanted.get("unique", False)
    )


def placed(sql: str, schema: str) -> str:
    """The same statement with this schema before every table that has none."""

    def put(tree: Tree) -> Tree:
        bare = tree.kind == "RangeVar" and not tree.text("schemaname")
        return tree.replaced(schemaname=schema) if bare else tree

    return write(parse(sql).mapped(put))


def queries(case: Mapping[str, Any]) -> tuple[Query, ...]:
    """The statements of a case, in the schema of its own."""
    found = []
    for one in case["statements"]:
        sql = placed(one["sql"], case["name"])
        found.append(Query(Statement(sql), (Example(sql),), calls=one["calls"], ms=one["ms"]))
    return tuple(found)


def alone(catalog: Catalog, case: Mapping[str, Any]) -> Catalog:
    """The catalogue of this case only, with the counters that it hands in."""
    schemas = {case["name"], *(one.get("schema") for one in case["expected"])}
    seen = case.get("observed")

    def counted(one: Standing) -> Standing:
        return one if seen is None else replace(one, scans=seen["scans"].get(one.index.name, 0))

    tables = {name: table for name, table in catalog.tables.items() if name[0] in schemas}
    if seen is not None:
        tables = {
            name: replace(
                table,
                activity=replace(table.activity, seconds=seen["days"] * 86_400.0, sequential_scans=seen["reads"]),
                indexes=tuple(counted(one) for one in table.indexes),
            )
            for name, table in tables.items()
        }
    made = catalog.extensions if EXTENSION in case["schema"] else catalog.extensions - {EXTENSION}
    return replace(catalog, tables=MappingProxyType(tables), search_path=(case["name"], "public"), extensions=made)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(servers: Any) -> AsyncIterator[tuple[Tercet, Catalog, WhatIf]]:
    """One database with a schema for each case, and one shadow of all of them."""
    name = "advisor_planted"
    servers.run(servers.administer(servers.postgres, f"create database {name}"))
    url = servers.postgres.rpartition("/")[0] + f"/{name}"
    connection = await asyncpg.connect(url)
    # What is not yet on the disk is not visible to all for VACUUM.
    await connection.execute("set synchronous_commit = on")
    await connection.execute(f"create extension {EXTENSION}")
    for case in CASES:
        await connection.execute(f"create schema {identifier(case['name'])}")
        await connection.execute(f"set search_path = {identifier(case['name'])}, public")
        await connection.execute(case["schema"])
        for one in Statement.split(case["data"]):  # VACUUM stands alone
            await connection.execute(one.text)
    # What autovacuum does between two cases would be told of the second one.
    await connection.execute(STILL)
    await connection.execute("analyze")
    await connection.close()
    async with Tercet(postgres=url) as db:
        catalog = await read(db.postgres)
        async with await shadow(db.postgres, catalog) as engine:
            yield db, catalog, engine
    servers.run(servers.administer(servers.postgres, f"drop database {name} with (force)"))


def pages(plan: Plan) -> float:
    """What a run counts as here: pages touched, which no busy machine changes."""
    return float(plan.root.buffers.touched) if plan.root.buffers is not None else 0.0


async def advice_for(case: Mapping[str, Any], lab: tuple[Tercet, Catalog, WhatIf], verify: Verification) -> Advice:
    """What the advisor says of one case."""
    db, catalog, engine = lab
    workload = Workload(queries(case), case["name"])
    wishes = Wishes(thorough=True, seconds=60.0, verify=verify, figure=pages)
    return await advised(db.postgres, alone(catalog, case), workload, engine, wishes)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_advice_is_right_and_none_where_none_is_due(
    case: Mapping[str, Any], lab: tuple[Tercet, Catalog, WhatIf]
) -> None:
    """Each index and each drop that is due is advised, and nothing else about indexes."""
    advice = await advice_for(case, lab, "off")
    due = [one for one in case["expected"] if one["kind"] != "none"]
    due += [{"kind": "drop_index", "index": name} for one in case["expected"] for name in one.get("replaces", ())]
    told = [piece for piece in advice.pieces if piece.kind in {"index", "drop_index"}]
    assert len(told) == len(due), [(one.kind, one.ddl, one.why) for one in told]
    for wanted in due:
        assert any(fits(one, wanted) for one in told), [(one.kind, one.ddl, one.why) for one in told]
    assert [(one.kind, one.ddl) for one in advice.pieces if one not in told] == []
    needs = [one["extension"] for one in due if "extension" in one and one["extension"] not in case["schema"]]
    assert [one.ddl[0] for one in told if len(one.ddl) > 1] == [
        f'create extension if not exists "{name}";' for name in needs
    ]
    alone = [note for one in advice.statements for note in one.notes if note.startswith("left alone: ")]
    assert bool(alone) == all(one["kind"] != "index" for one in due)


RUN = ("trigram_like", "optimal_whole", "missing_plain")


@pytest.mark.parametrize("case", [one for one in CASES if one["name"] in RUN], ids=lambda case: case["name"])
async def test_advice_holds_when_it_is_run(case: Mapping[str, Any], lab: tuple[Tercet, Catalog, WhatIf]) -> None:
    """On a copy with every row the same advice holds: the rows are the same, and fewer pages are touched."""
    advice = await advice_for(case, lab, "sample")
    due = [one for one in case["expected"] if one["kind"] != "none"]
    told = [piece for piece in advice.pieces if piece.kind in {"index", "drop_index"}]
    assert len(told) == len(due), [*advice.notes, *((one.kind, one.ddl, one.why) for one in told)]
    assert all(any(fits(one, wanted) for one in told) for wanted in due)
    for one in advice.statements:
        assert one.proof is None or one.proof.method == "run" or not one.pieces
        if one.pieces and any(piece["kind"] == "index" for piece in due):
            assert one.proof is not None, one
            assert one.proof.same_rows, one
            assert (one.proof.buffers_after or 0) < (one.proof.buffers_before or 0)
    # What the copy took from production is counted, beside what planning takes anyway.
    planned = await advice_for(case, lab, "off")
    assert advice.engine is not None
    assert planned.engine is not None
    copied = any(piece.kind in {"index", "drop_index"} for piece in advice.pieces)
    assert (advice.engine.read_bytes > planned.engine.read_bytes + 100_000) == copied
