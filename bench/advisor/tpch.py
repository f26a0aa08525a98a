"""TPC-H: the indexes that tercet chooses beside those of its peers, all built and run in turn on the same data.

.venv-bench/bin/python bench/advisor/tpch.py --url postgresql://…/empty [--rounds 2] [--results DIR]

The database given must be empty: the tables are made in it, filled by DuckDB's generator, and dropped at the end.
What one side takes is the least of its rounds; the rounds of all sides are interleaved.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import duckdb

from tercet import Tercet
from tercet.advisor.candidates import propose
from tercet.advisor.choice import choose
from tercet.advisor.query import Example, Query
from tercet.advisor.reading import read
from tercet.advisor.shadow import shadow
from tercet.proof import describe_machine
from tercet.sql import Statement

HERE = Path(__file__).parent
MB = 1024 * 1024

# Without keys these take hours, or depend on nothing but one of them: each is measured by itself.
APART = (2, 17, 20)
# No index changes them much, and they take half of the time.
UNTOUCHED = (1, 18)
BUDGETS_MB = (226, 500)
SLOWER = 1.10
STATEMENT_SECONDS = 120
THOROUGH_SECONDS = 60.0


def main() -> None:
    """Fill, choose, build, run, write."""
    options = _options()
    options.results.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(_measured(options))
    path = options.results / f"advisor-tpch-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\n{_table(found)}\nWritten: {path}")


async def _measured(options: argparse.Namespace) -> dict[str, Any]:
    connection = await asyncpg.connect(options.url)
    try:
        if await connection.fetchval("select count(*) from pg_class where relnamespace = 'public'::regnamespace"):
            raise SystemExit("The database is not empty; give one of your own.")
        version = await connection.fetchval("show server_version")
        try:
            statements = await _filled(connection, options.scale)
            queries = {number: sql for number, sql in statements.items() if number not in APART}
            sides, told = await _sides(options.url, queries)
            return {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": asdict(describe_machine([f"PostgreSQL {version}"])),
                "scale": options.scale,
                "choices": told,
                "sides": await _run(connection, sides, queries, options.rounds),
                "apart": await _apart(options.url, connection, {n: statements[n] for n in APART}),
            }
        finally:
            for (name,) in await connection.fetch("select tablename from pg_tables where schemaname = 'public'"):
                await connection.execute(f'drop table "{name}"')
    finally:
        await connection.close()


async def _filled(connection: asyncpg.Connection, scale: float) -> dict[int, str]:
    """The tables with their rows and without keys; the statements as DuckDB's extension has them, by number."""
    duck = duckdb.connect()
    duck.execute("install tpch; load tpch")
    duck.execute(f"call dbgen(sf = {scale})")
    with tempfile.TemporaryDirectory() as folder:
        for (name,) in duck.execute("select table_name from information_schema.tables").fetchall():
            columns = duck.execute(
                "select column_name, data_type from information_schema.columns "
                "where table_name = ? order by ordinal_position",
                [name],
            ).fetchall()
            await connection.execute(
                f"create table {name} ({', '.join(f'{column} {kind}' for column, kind in columns)})"
            )
            path = Path(folder) / f"{name}.csv"
            duck.execute(f"copy {name} to '{path}' (header false)")
            await connection.copy_to_table(name, source=path, format="csv")
            path.unlink()
    await connection.execute("vacuum analyze")
    texts = duck.execute("select query_nr, query from tpch_queries()").fetchall()
    return {number: text.strip().rstrip(";") for number, text in texts}


async def _sides(url: str, queries: dict[int, str]) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """The statements that make each side's indexes, and what is told of ours."""
    asked = [Query(Statement(sql), (Example(sql),), label=f"Q{number}") for number, sql in queries.items()]
    peers = json.loads((HERE / "peers.json").read_text(encoding="utf-8"))
    sides: dict[str, list[str]] = {"none": []}
    for name, peer in peers.items():
        sides[name] = [f"create index {_name(one)} on {one}" for one in peer["indexes"]]
    told: dict[str, Any] = {}
    async with Tercet(postgres=url) as db:
        catalog = await read(db.postgres)
        candidates = propose(asked, catalog)
        for budget in BUDGETS_MB:
            for thorough in (False, True):
                async with await shadow(db.postgres, catalog) as engine:
                    choice = await choose(
                        asked, candidates, engine, catalog,
                        budget_bytes=budget * MB, thorough=thorough, seconds=THOROUGH_SECONDS,
                    )  # fmt: skip
                name = f"tercet {'thorough' if thorough else 'quick'} {budget} MB"
                sides[name] = [one.candidate.index.create(concurrently=False) for one in choice.picked]
                told[name] = {
                    "seconds": round(choice.seconds, 2), "explains": choice.tried, "ended": choice.ended,
                    "estimated_mb": round(choice.size_bytes / MB, 1),
                    "estimated_ms": [round(choice.ms_before), round(choice.ms_after)],
                    "indexes": sides[name],
                }  # fmt: skip
                print(name, told[name], flush=True)
    return sides, told


async def _run(
    connection: asyncpg.Connection, sides: dict[str, list[str]], queries: dict[int, str], rounds: int
) -> dict[str, Any]:
    """Every index is built once; a side sees its own, the others are marked invalid meanwhile."""
    built = {
        made: await _built(connection, made, f"side_{at}")
        for at, made in enumerate(dict.fromkeys(one for side in sides.values() for one in side))
    }
    await connection.execute("vacuum analyze")
    best: dict[str, dict[int, float]] = {name: {} for name in sides}
    for number in range(rounds):
        for name, indexes in sides.items():
            await _show(connection, [built[one] for one in indexes], list(built.values()))
            for query, sql in queries.items():
                took = await _took(connection, sql)
                best[name][query] = min(best[name].get(query, took), took)
            print(f"round {number + 1}: {name} {sum(best[name].values()) / 1000:.1f} s", flush=True)
    sizes = {
        name: await connection.fetchval(
            "select coalesce(sum(pg_relation_size(c.oid)), 0) from pg_class c where relname = any($1)",
            [built[one] for one in indexes],
        )
        for name, indexes in sides.items()
    }
    return {
        name: {
            "real_mb": round(float(sizes[name]) / MB, 1),
            "total_ms": round(sum(took.values())),
            "without_q1_q18_ms": round(sum(ms for query, ms in took.items() if query not in UNTOUCHED)),
            "slower": [f"Q{query}" for query, ms in took.items() if ms > best["none"][query] * SLOWER],
            "ms_by_query": {str(query): round(ms, 1) for query, ms in took.items()},
        }
        for name, took in best.items()
    }


async def _built(connection: asyncpg.Connection, statement: str, name: str) -> str:
    """Build it under a name of its own: two sides may call different indexes the same."""
    await connection.execute(re.sub(r"^create index \S+", f"create index {name}", statement))
    return name


async def _show(connection: asyncpg.Connection, shown: list[str], every: list[str]) -> None:
    await connection.execute(
        "update pg_index set indisvalid = c.relname = any($1) from pg_class c "
        "where c.oid = indexrelid and c.relname = any($2)",
        shown, every,
    )  # fmt: skip


async def _took(connection: asyncpg.Connection, sql: str) -> float:
    since = time.perf_counter()
    try:
        await connection.fetch(sql, timeout=STATEMENT_SECONDS)
    except TimeoutError:
        return STATEMENT_SECONDS * 1e3
    return (time.perf_counter() - since) * 1e3


async def _apart(url: str, connection: asyncpg.Connection, queries: dict[int, str]) -> dict[str, Any]:
    """Each of the three by itself: what it takes with what is chosen for it alone, without any limit of bytes."""
    told = {}
    async with Tercet(postgres=url) as db:
        for number, sql in queries.items():
            catalog = await read(db.postgres)
            asked = [Query(Statement(sql), (Example(sql),), label=f"Q{number}")]
            async with await shadow(db.postgres, catalog) as engine:
                choice = await choose(
                    asked, propose(asked, catalog), engine, catalog, budget_bytes=None, thorough=False, seconds=10.0
                )
            made = [one.candidate.index.create(concurrently=False) for one in choice.picked]
            names = [await _built(connection, one, f"apart_{number}_{at}") for at, one in enumerate(made)]
            await connection.execute("analyze")
            told[f"Q{number}"] = {"indexes": made, "ms": round(await _took(connection, sql), 1)}
            for name in names:
                await connection.execute(f"drop index {name}")
    return told


def _name(definition: str) -> str:
    return re.sub(r"\W+", "_", definition).strip("_")


def _table(found: dict[str, Any]) -> str:
    lines = [f"{'':28}{'real MB':>9}{'total s':>9}{'w/o 1, 18':>11}  slower than without by 10 %"]
    for name, side in found["sides"].items():
        totals = f"{side['total_ms'] / 1000:9.1f}{side['without_q1_q18_ms'] / 1000:11.1f}"
        lines.append(f"{name:28}{side['real_mb']:9.1f}{totals}  {' '.join(side['slower'])}")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="an empty PostgreSQL database")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
