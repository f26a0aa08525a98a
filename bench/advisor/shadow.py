"""The shadow planner against real indexes: sizes and costs of what is supposed, beside those of what is built.

.venv-bench/bin/python bench/advisor/shadow.py [--scale 0.1] [--results bench/results]

Makes TPC-H with the package duckdb's extension tpch in an embedded server of its own, supposes twenty indexes in a
shadow of it, builds the same twenty, and compares file by file and plan by plan.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import duckdb

from tercet import Tercet
from tercet.advisor import Catalog
from tercet.advisor.shadow import Shadow, shadow
from tercet.proof import describe_machine
from tercet.servers import Servers
from tercet.sql import Index, Node, Plan, identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1

# What an advisor comes upon for these statements, and a few that are awkward to guess: columns that depend on each
# other, that repeat, that are wide; conditions; columns carried along.
INDEXES = (
    ("lineitem", ("l_orderkey",), (), None),
    ("lineitem", ("l_partkey",), (), None),
    ("lineitem", ("l_suppkey",), (), None),
    ("lineitem", ("l_shipdate",), (), None),
    ("lineitem", ("l_partkey", "l_suppkey"), (), None),
    ("lineitem", ("l_orderkey", "l_shipdate"), (), None),
    ("lineitem", ("l_shipmode", "l_receiptdate"), (), None),
    ("lineitem", ("l_shipdate",), ("l_extendedprice", "l_discount", "l_quantity"), None),
    ("lineitem", ("l_extendedprice",), (), None),
    ("lineitem", ("l_partkey",), (), "l_returnflag = 'R'"),
    ("orders", ("o_orderkey",), (), None),
    ("orders", ("o_custkey",), (), None),
    ("orders", ("o_orderdate",), (), None),
    ("orders", ("o_custkey", "o_orderdate"), (), None),
    ("orders", ("o_orderkey", "o_orderpriority"), (), None),
    ("partsupp", ("ps_partkey",), (), None),
    ("partsupp", ("ps_suppkey", "ps_partkey"), (), None),
    ("part", ("p_container", "p_size"), (), None),
    ("part", ("p_partkey", "p_type"), (), None),
    ("customer", ("c_custkey", "c_mktsegment"), (), None),
)


def main() -> None:
    """Make, suppose, build, compare, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=0.1, help="TPC-H's scale factor")
    parser.add_argument("--sample", action="store_true", help="let it count distinct values in a few pages")
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    answer = asyncio.run(_measure(options.scale, sample=options.sample))
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"advisor-shadow-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    print(f"Written: {path}")


async def _measure(scale: float, *, sample: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with Servers(Path(folder) / "servers", ("postgres",), durable=False) as addresses:
            url = addresses.postgres or ""
            direct = await asyncpg.connect(url)
            try:
                statements = await _load(direct, scale, Path(folder))
                async with Tercet(postgres=url) as db:
                    measured = await _compared(db, direct, statements, sample=sample)
                version = await direct.fetchval("show server_version")
            finally:
                await direct.close()
    return {
        "format": FORMAT,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(describe_machine([f"PostgreSQL {version}"])),
        "scale": scale,
        "sample": sample,
        **measured,
    }


async def _load(direct: asyncpg.Connection, scale: float, folder: Path) -> list[str]:
    """Make the tables, without keys, and give TPC-H's statements."""
    lake = duckdb.connect()
    lake.execute("load tpch")
    lake.execute(f"call dbgen(sf={scale})")
    for (table,) in lake.execute("select table_name from information_schema.tables").fetchall():
        columns = lake.execute(
            "select column_name, data_type from information_schema.columns "
            "where table_name = ? order by ordinal_position",
            [table],
        ).fetchall()
        kinds = ", ".join(f"{identifier(name)} {_kind(name, kind)} not null" for name, kind in columns)
        await direct.execute(f"create table {identifier(table)} ({kinds})")
        path = folder / f"{table}.csv"
        lake.execute(f"copy {identifier(table)} to '{path}' (header false)")
        await direct.copy_to_table(table, source=path, format="csv")
        path.unlink()
    await direct.execute("vacuum analyze")
    return [sql for _, sql in lake.execute("select query_nr, query from tpch_queries() order by query_nr").fetchall()]


def _kind(name: str, kind: str) -> str:
    """The standard's fixed-length texts, which DuckDB keeps as VARCHAR."""
    fixed = {"p_container": 10, "p_brand": 10, "o_orderpriority": 15, "c_mktsegment": 10, "l_shipmode": 10,
             "l_shipinstruct": 25, "l_returnflag": 1, "l_linestatus": 1, "o_orderstatus": 1}  # fmt: skip
    return f"char({fixed[name]})" if name in fixed else kind.lower()


async def _compared(
    db: Tercet, direct: asyncpg.Connection, statements: Sequence[str], *, sample: bool
) -> dict[str, Any]:
    indexes = [
        Index(f"supposed_{number}", table, columns, include=include, where=where)
        for number, (table, columns, include, where) in enumerate(INDEXES)
    ]
    began = time.perf_counter()
    async with await shadow(db.postgres, Catalog(), sample=sample) as planner:
        ready = time.perf_counter() - began
        bare = await _plans(direct, planner, statements, ())
        began = time.perf_counter()
        supposed = await planner.suppose(indexes)
        each = (time.perf_counter() - began) / len(indexes)
        sizes = await _build(direct, indexes, supposed)
        with_all = await _plans(direct, planner, statements, [index.name for index in indexes])
        print(f"ready in {ready:.2f} s; {1000 * each:.1f} ms for each index")
        print(f"without: {bare['same']}/{bare['plans']} plans, worst cost error {bare['worst']:.4%}")
        print(f"with:    {with_all['same']}/{with_all['plans']} plans")
        print(f"         cost error mean {with_all['mean']:.3%}, worst {with_all['worst']:.2%}")
        near = sum(abs(one["ratio"] - 1) <= 0.1 for one in sizes)
        print(f"sizes:   {near}/{len(sizes)} within a tenth")
        return {"ready_seconds": ready, "suppose_ms": 1000 * each, "without": bare, "with": with_all, "sizes": sizes,
                "read_bytes": planner.read_bytes, "read_seconds": planner.read_seconds}  # fmt: skip


async def _plans(
    direct: asyncpg.Connection, planner: Shadow, statements: Sequence[str], using: Sequence[str]
) -> dict[str, Any]:
    errors, same, equal = [], 0, 0
    for number, sql in enumerate(statements, 1):
        real = Plan.read(await direct.fetchval(f"explain (format json) {sql}"))
        plan = await planner.plan(sql, using=using)
        error = plan.root.cost / real.root.cost - 1
        if abs(error) > 0.001:
            print(f"  statement {number}: cost {error:+.2%}")
        errors.append(abs(error))
        alike = _drawn(plan.root) == _drawn(real.root)
        same, equal = same + alike, equal + (error == 0)
    return {
        "plans": len(statements),
        "same": same,
        "equal": equal,
        "mean": sum(errors) / len(errors),
        "worst": max(errors),
    }


def _drawn(node: Node) -> tuple[Any, ...]:
    return node.type, node.join, node.index, node.relation, tuple(map(_drawn, node.children))


async def _build(direct: asyncpg.Connection, indexes: Sequence[Index], supposed: Any) -> list[dict[str, Any]]:
    """Build the real ones and leave the tables' statistics as they were, which CREATE INDEX counts anew."""
    kept = await direct.fetch("select oid, relpages, reltuples from pg_class where relkind = 'r' and relpages > 0")
    found = []
    for index in indexes:
        await direct.execute(index.create(concurrently=False))
        real = await direct.fetchval("select pg_relation_size($1::text::regclass)", index.qualified)
        guess = supposed[index.name].size_bytes
        columns = ", ".join(str(key.of) for key in index.keys)
        what = f"{index.table}({columns})" + (f" include {list(index.include)}" if index.include else "")
        what += f" where {index.where}" if index.where else ""
        print(f"  {guess / real:6.3f}  {real / 2**20:8.2f} MB  {what}")
        found.append({"index": what, "real_bytes": real, "supposed_bytes": guess, "ratio": guess / real})
    for oid, pages, tuples in kept:
        await direct.execute("update pg_class set relpages = $2, reltuples = $3 where oid = $1", oid, pages, tuples)
    return found


if __name__ == "__main__":
    main()
