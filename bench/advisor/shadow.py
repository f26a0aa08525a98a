"""The shadow planner against the server that it is a shadow of: plans, costs, and the sizes of indexes.

.venv-bench/bin/python bench/advisor/shadow.py [--scale 0.1] [--json FILE]

TPC-H's and TPC-DS's statements are planned on both, without any index. Then twenty indexes are supposed in two shadows
of TPC-H, one of which may look at a sample of the rows, the same twenty are really built, and compared file by file
and plan by plan.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import asyncpg
import part
import tpc
from part import Answers, Options

from tercet import Tercet
from tercet.advisor.port import Refused, Supposed
from tercet.advisor.reading import read
from tercet.advisor.shadow import Shadow, shadow
from tercet.sql import Index, Node, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server import Server

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
NEAR = 0.1


async def measure(options: Options) -> Answers:
    """Both benchmarks on each server."""
    return await part.on_each(options, _on)


async def _on(server: Server, options: Options) -> Answers:
    url = await server.database("tpcds")
    connection = await asyncpg.connect(url)
    try:
        statements = await tpc.fill(connection, "tpcds", options.scale)
        async with Tercet(postgres=url) as db, await shadow(db.postgres, await read(db.postgres)) as planner:
            plain = {"ready_seconds": planner.seconds} | await _plans(connection, planner, statements, ())
    finally:
        await connection.close()
    url = await server.database("tpch")
    connection = await asyncpg.connect(url)
    try:
        statements = await tpc.fill(connection, "tpch", options.scale)
        async with Tercet(postgres=url) as db:
            return {"tpcds": plain, "tpch": await _twins(db, connection, statements)}
    finally:
        await connection.close()


async def _twins(db: Tercet, connection: asyncpg.Connection, statements: Mapping[int, str]) -> Answers:
    """Plans without indexes, and with those that are supposed in the shadows and really there."""
    indexes = [
        Index(f"supposed_{number}", table, columns, include=include, where=where)
        for number, (table, columns, include, where) in enumerate(INDEXES)
    ]
    names = [index.name for index in indexes]
    catalog = await read(db.postgres)
    async with await shadow(db.postgres, catalog) as plain, await shadow(db.postgres, catalog, sample=True) as sampled:
        found: Answers = {
            "ready_seconds": plain.seconds,
            "read_bytes": plain.read_bytes,
            "read_seconds": plain.read_seconds,
            "without": await _plans(connection, plain, statements, ()),
        }
        began = time.perf_counter()
        guesses = [await plain.suppose(indexes)]
        found["suppose_ms"] = 1e3 * (time.perf_counter() - began) / len(indexes)
        guesses.append(await sampled.suppose(indexes))
        sizes = await _build(connection, indexes, guesses)
        for at, (way, planner) in enumerate((("estimated", plain), ("sampled", sampled))):
            ratios = {what: guess[at] / real for what, (real, guess) in sizes.items()}
            found[way] = await _plans(connection, planner, statements, names) | {
                "near": sum(abs(ratio - 1) <= NEAR for ratio in ratios.values()),
                "sizes": len(ratios),
                "ratios": ratios,
            }
            print(f"{way}: {found[way]}", flush=True)
        found["real_mb"] = {what: real / 2**20 for what, (real, _) in sizes.items()}
    return found


async def _plans(
    connection: asyncpg.Connection, planner: Shadow, statements: Mapping[int, str], using: Sequence[str]
) -> Answers:
    """Each statement planned here and there; those that differ are named."""
    errors: dict[int, float] = {}
    other, refused = [], []
    for number, sql in statements.items():
        real = Plan.read(await connection.fetchval(f"explain (format json) {sql}"))
        plan = await planner.plan(sql, using=using)
        if isinstance(plan, Refused):
            refused.append(f"{number}: {plan.why}")
            continue
        errors[number] = abs(plan.root.cost / real.root.cost - 1)
        if _drawn(plan.root) != _drawn(real.root):
            other.append(str(number))
    return {
        "statements": len(statements),
        "planned": len(errors),
        "same_plan": len(errors) - len(other),
        "equal_cost": sum(error == 0 for error in errors.values()),
        "mean_percent": 100 * sum(errors.values()) / max(len(errors), 1),
        "worst_percent": 100 * max(errors.values(), default=0.0),
        "other_plan": other,
        "refused": refused,
    }


def _drawn(node: Node) -> tuple[Any, ...]:
    return node.type, node.join, node.index, node.relation, tuple(map(_drawn, node.children))


async def _build(
    connection: asyncpg.Connection, indexes: Sequence[Index], guesses: Sequence[Mapping[str, Supposed | Refused]]
) -> dict[str, tuple[int, list[int]]]:
    """Build the real ones and leave the tables' statistics as they were, which CREATE INDEX counts anew."""
    kept = await connection.fetch("select oid, relpages, reltuples from pg_class where relkind = 'r' and relpages > 0")
    found = {}
    for index in indexes:
        await connection.execute(index.create(concurrently=False))
        real = await connection.fetchval("select pg_relation_size($1::text::regclass)", index.qualified)
        supposed = [guess[index.name] for guess in guesses]
        found[_told(index)] = (real, [0 if isinstance(one, Refused) else one.size_bytes for one in supposed])
    for oid, pages, tuples in kept:
        await connection.execute("update pg_class set relpages = $2, reltuples = $3 where oid = $1", oid, pages, tuples)
    return found


def _told(index: Index) -> str:
    what = f"{index.table}({', '.join(str(key.of) for key in index.keys)})"
    what += f" include ({', '.join(index.include)})" if index.include else ""
    return f"{what} where {index.where}" if index.where else what


if __name__ == "__main__":
    part.main(__doc__, measure)
