"""The reference query: as written, by hand as quick as it goes, and as the advisor makes it, all in one run.

.venv-bench/bin/python bench/advisor/reference.py [--scale 1] [--rounds 3] [--json FILE]

Scale 1 is 1,000,000 users and 5,000,000 orders. The advisor is given the statement and nothing else; what it advises is
built as it says. Every way has to answer the rows of the statement as written, in their order.
"""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import part
from server import running

from tercet import Tercet
from tercet.advisor import Rewrite, advise
from tercet.sql import Statement
from tercet_shop.load import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from part import Answers, Options
    from server import Server

    from tercet.advisor import Advice

USERS, ORDERS = 1_000_000, 5_000_000
# Ways by hand: which of them is the best is seen when they are run.
BY_HAND = ("late", "lateral", "grouped first")
# What takes less than that is asked many times a round.
QUICK_MS, QUICK_TIMES = 20.0, 50
# Filling and building at the full size take minutes.
STATEMENT_TIMEOUT = "30m"
# Nobody waits longer for one way; at the full size the slowest that is known takes some twenty seconds.
WAY_SECONDS = 300.0


@dataclass(slots=True)
class Way:
    """One text with the indexes that it may see, and what it took."""

    sql: str
    indexes: tuple[str, ...] = ()
    ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    same_rows: bool | None = None


async def measure(options: Options) -> Answers:
    """On the server of the wheel."""
    async with running() as server:
        url = await server.database("shop")
        async with Tercet(postgres=url, postgres_statement_timeout=STATEMENT_TIMEOUT) as db:
            users, orders = round(USERS * options.scale), round(ORDERS * options.scale)
            shop = await prepare(db, users=users, orders=orders, documents=False)
            since = f"timestamptz '{shop.since:%Y-%m-%d %H:%M:%S%z}'"
            texts = {name: text.replace(":since", since) for name, text in _blocks().items()}
            # A plan that is kept would go on without the indexes that are shown after it.
            connection = await asyncpg.connect(url, statement_cache_size=0)
            try:
                await connection.execute("vacuum analyze")
                told, advice = await _advised(db, texts)
                # By hand afterwards: what is there already would be part of the advice.
                ways = await _ways(connection, texts, advice)
                await _run(connection, server, ways, options.rounds)
            finally:
                await connection.close()
        return {
            "servers": [server.name], "users": users, "orders": orders, **told,
            "ways": {name: _way(way) for name, way in ways.items()}, **_ratios(ways),
            "other_rows": [name for name, way in ways.items() if not way.same_rows],
        }  # fmt: skip


async def _advised(db: Tercet, texts: Mapping[str, str]) -> tuple[Answers, Advice]:
    began, cpu = time.perf_counter(), time.process_time()
    advice = await advise(db, texts["as written"])
    told: Answers = {
        "advise_seconds": time.perf_counter() - began,
        "advise_cpu_seconds": time.process_time() - cpu,
        "pieces": [{"kind": one.kind, "ddl": list(one.ddl), "why": one.why, "mb": one.size_bytes / 2**20}
                   for one in advice.pieces],
        "rejected": [f"{one.what}: {one.why}" for piece in advice.pieces for one in piece.rejected],
        "notes": [*advice.notes, *(note for one in advice.statements for note in one.notes)],
        "estimated_ms": [(one.ms_before, one.ms_after) for one in advice.statements],
    }  # fmt: skip
    sentences = [*told["notes"], *told["rejected"], *(one.why for one in advice.pieces)]
    told["no_index_notes"] = [one for one in sentences if re.search(r"\b(no|whatever the) index\b", one)]
    open_end = await advise(db, texts["nulls first"], thorough=False)
    sentences = [note for one in open_end.statements for note in one.notes]
    told["undetermined_notes"] = [one for one in sentences if one.startswith(("LIMIT", "ORDER BY"))]
    return told, advice


async def _ways(connection: asyncpg.Connection, texts: Mapping[str, str], advice: Advice) -> dict[str, Way]:
    """Everything is built; which indexes a way may see is decided when it runs."""
    indexes = [one for piece in advice.pieces if piece.kind == "index" for one in piece.ddl]
    views = [one for piece in advice.pieces if piece.kind == "view" for one in piece.ddl]
    rewrites = [piece.value.after for piece in advice.pieces if isinstance(piece.value, Rewrite)]
    first = await _build(connection, indexes)
    await _build(connection, views)
    usual = await _build(connection, _split(texts["usual indexes"]))
    covering = await _build(connection, _split(texts["covering indexes"]))
    await _build(connection, _split(texts["view"]))
    await connection.execute("vacuum analyze")
    ways = {"as written": Way(texts["as written"]), "usual indexes": Way(texts["as written"], usual)}
    ways |= {f"by hand: {name}": Way(texts[name], covering) for name in BY_HAND}
    ways["advisor: rung 1"] = Way(rewrites[0] if rewrites else texts["as written"], first)
    ways["by hand: view"] = Way(texts["from view"], covering)
    after = advice.statements[0].sql_after
    if views and after is not None:
        ways["advisor: rung 2"] = Way(after, first)
    return ways


async def _build(connection: asyncpg.Connection, statements: Sequence[str]) -> tuple[str, ...]:
    """Run them, and name the indexes on tables of the shop that were made by them."""
    before = await _indexes(connection)
    for statement in statements:
        await connection.execute(statement)
    return tuple(sorted(await _indexes(connection) - before))


async def _indexes(connection: asyncpg.Connection) -> set[str]:
    asked = (
        "select i.relname::text from pg_index x join pg_class i on i.oid = x.indexrelid "
        "join pg_class t on t.oid = x.indrelid where t.relkind = 'r' and t.relnamespace = 'public'::regnamespace"
    )
    return {name for (name,) in await connection.fetch(asked)}


async def _run(connection: asyncpg.Connection, server: Server, ways: Mapping[str, Way], rounds: int) -> None:
    every = sorted({name for way in ways.values() for name in way.indexes})
    wanted: list[asyncpg.Record] = []
    for at in range(rounds):
        for name, way in ways.items():
            await connection.execute(
                "update pg_index set indisvalid = c.relname = any($1) "
                "from pg_class c where c.oid = indexrelid and c.relname = any($2)",
                list(way.indexes), every,
            )  # fmt: skip
            rows = await connection.fetch(way.sql, timeout=WAY_SECONDS)
            wanted = wanted or rows
            way.same_rows = way.same_rows is not False and [tuple(one) for one in rows] == [tuple(o) for o in wanted]
            await _timed(connection, server, way)
            print(f"round {at + 1}: {name} {min(way.ms):.2f} ms, same rows: {way.same_rows}", flush=True)


async def _timed(connection: asyncpg.Connection, server: Server, way: Way) -> None:
    """One run, or many where one is over too soon for the clock of the processors."""
    taken, cpu = [], server.cpu()
    for _ in range(QUICK_TIMES):
        began = time.perf_counter()
        await connection.fetch(way.sql, timeout=WAY_SECONDS)
        taken.append(1e3 * (time.perf_counter() - began))
        if taken[0] > QUICK_MS:
            break
    way.ms += taken
    way.cpu_ms.append(1e3 * (server.cpu() - cpu) / len(taken))


def _way(way: Way) -> Answers:
    return {
        "ms_best": min(way.ms), "ms_median": statistics.median(way.ms), "cpu_ms": min(way.cpu_ms),
        "same_rows": way.same_rows, "sql": way.sql, "indexes": list(way.indexes),
    }  # fmt: skip


def _ratios(ways: Mapping[str, Way]) -> Answers:
    hand = min((min(ways[f"by hand: {name}"].ms), name) for name in BY_HAND if ways[f"by hand: {name}"].same_rows)
    found: Answers = {"best_by_hand": hand[1], "best_by_hand_ms": hand[0]}
    for rung in ("1", "2"):
        way = ways.get(f"advisor: rung {rung}")
        if way is not None:
            # One that answers something else is none.
            found[f"rung_{rung}_ms"] = min(way.ms) if way.same_rows else None
            found[f"rung_{rung}_times_faster"] = min(ways["as written"].ms) / min(way.ms)
    if found.get("rung_1_ms"):
        found["rung_1_to_hand"] = found["rung_1_ms"] / hand[0]
    return found


def _blocks() -> dict[str, str]:
    """The statements of reference.sql by their names."""
    _, *parts = (Path(__file__).parent / "reference.sql").read_text(encoding="utf-8").split("-- name: ")
    named = (one.partition("\n") for one in parts)
    return {name.strip(): re.sub(r"^--.*\n", "", body, flags=re.MULTILINE).strip() for name, _, body in named}


def _split(text: str) -> list[str]:
    return [one.text for one in Statement.split(text)]


if __name__ == "__main__":
    part.main(__doc__, measure)
