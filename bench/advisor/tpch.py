"""TPC-H without keys: the indexes that tercet chooses beside those of its peers, all really built and run in turn.

.venv-bench/bin/python bench/advisor/tpch.py [--scale 1] [--rounds 3] [--sources wheel,path] [--json FILE]

Every index is built once, and each side sees its own. A statement is run for one side after the other, so that a
machine that gets slower or faster favours nobody, and the best of its rounds counts. Sides for which it has the same
plan share its runs. Where it seems slower than without any index, both are run some more, whoever's side it is.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import part
import tpc

from tercet import Tercet
from tercet.advisor import Example, Query
from tercet.advisor.flow.draft import Draft, Form, Wishes
from tercet.advisor.flow.indexing import again, indexes
from tercet.advisor.flow.proving import prove
from tercet.advisor.flow.stand import Stand
from tercet.advisor.reading import read
from tercet.advisor.shadow import shadow
from tercet.sql import Plan, Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from part import Answers, Options
    from server import Server

    from tercet.advisor.choice import Choice

PEERS = Path(__file__).parent / "peers.json"
MB = 1024 * 1024

# Without keys these take hours, or depend on nothing but one of them: each is measured by itself.
APART = (2, 17, 20)
# No index changes them much, and they take half of the time.
UNTOUCHED = (1, 18)
# What the sets of Dexter and of Extend take at scale 1, and what Extend was allowed.
BUDGETS_MB = (226, 500)
SLOWER = 1.10
# Runs of a statement that seems slower, and as many without any index.
AGAIN = 3
STATEMENT_SECONDS = 120.0
APART_SECONDS = 30.0
THOROUGH_SECONDS, THOROUGH_SECONDS_QUICK = 60.0, 5.0


@dataclass(slots=True)
class Side:
    """One advisor's indexes as statements, the plan of every statement with them, and the best that it took."""

    indexes: list[str]
    plans: dict[int, str] = field(default_factory=dict)
    ms: dict[int, float] = field(default_factory=dict)
    cpu_ms: dict[int, float] = field(default_factory=dict)


async def measure(options: Options) -> Answers:
    """On each server."""
    return await part.on_each(options, _on)


async def _on(server: Server, options: Options) -> Answers:
    url = await server.database("tpch")
    # A plan that is kept would go on without the indexes that are shown after it.
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        statements = await tpc.fill(connection, "tpch", options.scale)
        queries = {number: sql for number, sql in statements.items() if number not in APART}
        sides = {"none": Side([])}
        for name, peer in json.loads(PEERS.read_text(encoding="utf-8")).items():
            sides[name] = Side([f"create index {_name(one)} on {one}" for one in peer["indexes"]])
        chosen = await _chosen(url, queries, options)
        for name, choice in chosen.items():
            sides[name] = Side([one.candidate.index.create(concurrently=False) for one in choice.picked])
        run = await _Run.built(connection, server, sides, queries)
        await run.rounds(options.rounds)
        answers = {
            "choices": {name: _told(choice) for name, choice in chosen.items()},
            "sides": await run.answers(),
            "index_build_ms": run.build_ms,
        }
        await run.clear()
        return answers | {"apart": await _apart(url, connection, {number: statements[number] for number in APART})}
    finally:
        await connection.close()


async def _chosen(url: str, queries: Mapping[int, str], options: Options) -> dict[str, Choice]:
    """What tercet chooses, quickly and thoroughly, under either budget."""
    asked = [_query(number, sql) for number, sql in queries.items()]
    found = {}
    async with Tercet(postgres=url) as db:
        for megabytes in BUDGETS_MB:
            budget = round(megabytes * MB * options.scale)
            seconds = THOROUGH_SECONDS_QUICK if options.quick else THOROUGH_SECONDS
            found[f"tercet quick {megabytes}"] = await _choice(db, asked, Wishes(budget, thorough=False))
            proved = Wishes(budget, seconds=seconds, verify="sample")
            found[f"tercet thorough {megabytes}"] = await _choice(db, asked, proved)
    for name, choice in found.items():
        print(f"{name}: {_told(choice)}", flush=True)
    return found


async def _choice(db: Tercet, asked: Sequence[Query], wishes: Wishes) -> Choice:
    """As `advise` does it, for indexes alone: what does not hold when it is run on a copy is not in it.

    Its seconds are those of the whole way, with the schema read and the engine made.
    """
    began = time.perf_counter()
    catalog = await read(db.postgres)
    drafts = [Draft(query, forms=[Form(query)]) for query in asked]
    stand = Stand(db.postgres, None, catalog, wishes)
    try:
        async with await shadow(db.postgres, catalog) as engine:
            found = await indexes(drafts, catalog, engine, wishes, None)
            anew = partial(again, drafts, catalog, engine, wishes, None, found)
            way, _ = await prove(drafts, found.choice, anew, stand, catalog, wishes)
            seconds = time.perf_counter() - began
    finally:
        await stand.close()
    gone = {one.change for one in way.withdrawn}
    kept = tuple(one for one in way.choice.picked if one.candidate.index not in gone)
    return replace(way.choice, picked=kept, seconds=seconds)


def _told(choice: Choice) -> Answers:
    return {
        "seconds": choice.seconds,
        "explains": choice.tried,
        "ended": choice.ended,
        "estimated_mb": choice.size_bytes / MB,
        "estimated_ms_before": choice.ms_before,
        "estimated_ms_after": choice.ms_after,
        "indexes": [one.candidate.index.create(concurrently=False) for one in choice.picked],
    }


@dataclass(slots=True)
class _Run:
    """All sides in one database."""

    connection: asyncpg.Connection
    server: Server
    sides: dict[str, Side]
    queries: Mapping[int, str]
    # The name under which each statement's index was really built.
    names: dict[str, str] = field(default_factory=dict)
    build_ms: dict[str, float] = field(default_factory=dict)

    @classmethod
    async def built(
        cls, connection: asyncpg.Connection, server: Server, sides: dict[str, Side], queries: Mapping[int, str]
    ) -> _Run:
        """Every index once, under a name of its own: two sides may call different ones the same."""
        run = cls(connection, server, sides, queries)
        for statement in dict.fromkeys(one for side in sides.values() for one in side.indexes):
            name = run.names[statement] = f"side_{len(run.names)}"
            began = time.perf_counter()
            await connection.execute(_renamed(statement, name))
            run.build_ms[statement] = 1e3 * (time.perf_counter() - began)
        await connection.execute("vacuum analyze")
        return run

    async def rounds(self, count: int) -> None:
        """Each statement of all sides in a row, who begins taking turns; then what seems slower again."""
        for side in self.sides.values():
            await self._show(side)
            side.plans = {number: await self._plan(sql) for number, sql in self.queries.items()}
        for at in range(count):
            for number in self.queries:
                ways = list({side.plans[number]: side for side in self.sides.values()}.values())
                for side in ways[at % len(ways) :] + ways[: at % len(ways)]:
                    await self._take(side, number)
            told = {name: round(sum(side.ms.values()) / 1000, 1) for name, side in self.sides.items()}
            print(f"round {at + 1}, best so far in seconds: {told}", flush=True)
        for side in self.sides.values():
            for number in self._slower(side):
                for _ in range(AGAIN):
                    await self._take(self.sides["none"], number)
                    await self._take(side, number)

    async def answers(self) -> Answers:
        """What each side takes, in time and in bytes."""
        found = {}
        for name, side in self.sides.items():
            await self._show(side)
            rest = {number: ms for number, ms in side.ms.items() if number not in UNTOUCHED}
            found[name] = {
                "real_mb": await self._size(side) / MB,
                "total_ms": sum(side.ms.values()),
                "without_q1_q18_ms": sum(rest.values()),
                "cpu_ms": sum(side.cpu_ms.values()),
                "cost": sum([await self._cost(sql) for sql in self.queries.values()]),
                "build_ms": sum(self.build_ms[one] for one in side.indexes),
                "slower": [f"Q{number}" for number in self._slower(side)],
                "ms_by_query": {f"Q{number}": ms for number, ms in side.ms.items()},
                "indexes": side.indexes,
            }
        return found

    async def clear(self) -> None:
        """Drop every index."""
        for name in self.names.values():
            await self.connection.execute(f"drop index {name}")

    def _slower(self, side: Side) -> list[int]:
        without = self.sides["none"].ms
        return [number for number, ms in side.ms.items() if ms > without[number] * SLOWER]

    async def _show(self, side: Side) -> None:
        shown = [self.names[one] for one in side.indexes]
        await self.connection.execute(
            "update pg_index set indisvalid = c.relname = any($1) "
            "from pg_class c where c.oid = indexrelid and c.relname = any($2)",
            shown, list(self.names.values()),
        )  # fmt: skip

    async def _plan(self, sql: str) -> str:
        return "\n".join(line for (line,) in await self.connection.fetch(f"explain (costs off) {sql}"))

    async def _take(self, side: Side, number: int) -> None:
        """One run of a statement, for all sides with this plan of it."""
        await self._show(side)
        cpu = self.server.cpu()
        ms = await _ms(self.connection, self.queries[number], STATEMENT_SECONDS)
        spent = 1e3 * (self.server.cpu() - cpu)
        for one in self.sides.values():
            if one.plans[number] == side.plans[number] and ms <= one.ms.get(number, ms):
                one.ms[number], one.cpu_ms[number] = ms, spent

    async def _size(self, side: Side) -> float:
        asked = "select coalesce(sum(pg_relation_size(c.oid)), 0) from pg_class c where relname = any($1)"
        return float(await self.connection.fetchval(asked, [self.names[one] for one in side.indexes]))

    async def _cost(self, sql: str) -> float:
        return Plan.read(await self.connection.fetchval(f"explain (format json) {sql}")).root.cost


async def _apart(url: str, connection: asyncpg.Connection, queries: Mapping[int, str]) -> Answers:
    """Each by itself: without, for no longer than a while, and with what is chosen for it alone."""
    told = {}
    async with Tercet(postgres=url) as db:
        for number, sql in queries.items():
            choice = await _choice(db, [_query(number, sql)], Wishes(thorough=False))
            before = await _ms(connection, sql, APART_SECONDS)
            made = [one.candidate.index.create(concurrently=False) for one in choice.picked]
            for at, one in enumerate(made):
                await connection.execute(_renamed(one, f"apart_{at}"))
            await connection.execute("vacuum analyze")
            after = await _ms(connection, sql, APART_SECONDS)
            told[f"Q{number}"] = {
                "indexes": made, "ms_before": before, "cut_off": before >= 1e3 * APART_SECONDS, "ms_after": after
            }  # fmt: skip
            print(f"Q{number}: {told[f'Q{number}']}", flush=True)
            for at in range(len(made)):
                await connection.execute(f"drop index apart_{at}")
    return told


async def _ms(connection: asyncpg.Connection, sql: str, seconds: float) -> float:
    """What it takes; cut off, as long as it was given."""
    began = time.perf_counter()
    try:
        await connection.fetch(sql, timeout=seconds)
    except TimeoutError:
        return 1e3 * seconds
    return 1e3 * (time.perf_counter() - began)


def _query(number: int, sql: str) -> Query:
    return Query(Statement(sql), (Example(sql),), label=f"Q{number}")


def _renamed(statement: str, name: str) -> str:
    renamed, count = re.subn(r"^create (unique )?index \S+ on", rf"create \1index {name} on", statement)
    if not count:
        raise SystemExit(f"This makes no index that could get another name: {statement}")
    return renamed


def _name(definition: str) -> str:
    return re.sub(r"\W+", "_", definition).strip("_")


if __name__ == "__main__":
    part.main(__doc__, measure)
