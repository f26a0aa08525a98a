"""Advice for one database: its statements planned as they would be with other indexes, and run to prove it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from tercet.advisor.advice import Engine
from tercet.advisor.flow.draft import Draft, Wishes
from tercet.advisor.flow.engines import engine_for
from tercet.advisor.flow.indexing import again, indexes
from tercet.advisor.flow.leaving import why_alone
from tercet.advisor.flow.proving import prove
from tercet.advisor.flow.rewriting import forms, think
from tercet.advisor.flow.running import run_off
from tercet.advisor.flow.stand import Stand
from tercet.advisor.flow.telling.telling import Found, tell
from tercet.advisor.flow.viewing import views
from tercet.advisor.marked import marked
from tercet.advisor.port import Refused
from tercet.advisor.query import Example, Workload
from tercet.advisor.reading import read
from tercet.advisor.reading.here import is_here
from tercet.advisor.shadow import Shadow
from tercet.advisor.workload import from_statements, from_statistics, from_text, with_values
from tercet.errors import SettingInvalid
from tercet.units import seconds as read_seconds
from tercet.units import size_bytes

if TYPE_CHECKING:
    from tercet.advisor.advice import Advice
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.flow.draft import Verification
    from tercet.advisor.port import EngineKind, Progress, WhatIf
    from tercet.advisor.query import Query
    from tercet.sql.port import Database

# Enough for the search to come to its own end on a hundred statements.
THOROUGH_SECONDS = 30.0
# What somebody waits for without a bar.
QUICK_SECONDS = 2.0
# Each statement that is examined is planned some hundred times; those behind the heaviest few hundred save little.
EXAMINED_MAX = 300
# An answer that people look at is seldom asked to be younger.
TOLERATED_AGE = "1m"
# What is not asked for is not done with other people's rows.
_NOT_RUN = 'nothing was run: the database is on another machine, whose rows are copied here only for verify "sample"'


@runtime_checkable
class Recorded(Protocol):
    """Who has heard statements: a Recorder."""

    def workload(self) -> Workload:
        """What was heard so far."""
        ...


class HasPostgres(Protocol):
    """A Tercet."""

    @property
    def postgres(self) -> Database:
        """Its PostgreSQL."""
        ...


async def advise(
    db: Database | HasPostgres,
    workload: Workload | Recorded | str | Iterable[object] | None = None,
    *,
    budget: str | int | None = None,
    thorough: bool = True,
    seconds: str | float | None = None,
    verify: Verification | None = None,
    replica: Database | None = None,
    engine: EngineKind | None = None,
    tolerated_age: str | float = TOLERATED_AGE,
    on_progress: Progress | None = None,
) -> Advice:
    """What would make these statements faster, priced and proved; nothing is changed.

    `workload` is a Workload, a Recorder, SQL text, a list of SQL texts and SQLAlchemy statements, or None for what
    pg_stat_statements has counted. `budget` bounds what new indexes take together ("500MB"). Quick
    (`thorough=False`) asks the planner some hundred times; thorough searches on for `seconds`. `verify`: "sample"
    runs everything on a copy in a server of its own, "replica" and "on" run there READ ONLY what needs nothing
    built, "off" trusts the planner. The default is "sample" when thorough and the database is on this machine: rows
    of another one are copied here only by whoever says so. `tolerated_age` is how old an answer from a view may be.

    Raises StatisticsMissing, SettingInvalid, SqlInvalid, ServerMissing (no engine can be had), and what reading the
    database raises.
    """
    if verify == "replica" and replica is None:
        raise SettingInvalid("replica", where="advise()", shown="None", wanted="a database to run on")
    database = marked(cast("Database", getattr(db, "postgres", db)))
    here = verify is not None or await is_here(database)
    wishes = Wishes(
        budget_bytes=size_bytes(budget) if isinstance(budget, str) else budget,
        thorough=thorough,
        seconds=read_seconds(seconds) if seconds is not None else THOROUGH_SECONDS if thorough else QUICK_SECONDS,
        engine=engine or "auto",
        verify=verify or ("sample" if thorough and here else "off"),
        tolerated_age=read_seconds(tolerated_age),
        progress=on_progress or (lambda _what, _done, _all: None),
    )
    given = _given(workload)
    wishes.progress("reading the schema and its statistics", 0, 0)
    catalog = await read(database, replicas=() if replica is None else (replica,))
    given = await with_values(database, given or await from_statistics(database), catalog)
    began = time.perf_counter()
    async with AsyncExitStack() as stack:
        starting = asyncio.create_task(engine_for(database, catalog, wishes))
        stack.push_async_callback(_ended, starting)
        advice = await advised(database, catalog, given, starting, wishes, replica=replica, began=began)
    return advice if here or not thorough else replace(advice, notes=(*advice.notes, _NOT_RUN))


async def _ended(starting: asyncio.Task[WhatIf]) -> None:
    """Close the engine, or what there is of it."""
    starting.cancel()
    await asyncio.wait([starting])
    if not starting.cancelled() and starting.exception() is None:
        await starting.result().close()


def _given(workload: object) -> Workload | None:
    """What was handed over as a workload; None where the database is to be asked."""
    if workload is None or isinstance(workload, Workload):
        return workload
    if isinstance(workload, str):
        return from_text(workload, source="SQL")
    if isinstance(workload, Recorded):
        return workload.workload()
    if isinstance(workload, Iterable):
        return from_statements(workload)
    return from_statements([workload])


async def advised(
    database: Database,
    catalog: Catalog,
    workload: Workload,
    engine: WhatIf | asyncio.Task[WhatIf],
    wishes: Wishes,
    *,
    replica: Database | None = None,
    began: float | None = None,
) -> Advice:
    """The same with an engine that is there already or is being started, and stays; `began` is when its making did."""
    began = time.perf_counter() if began is None else began
    queries = [_with_example(query) for query in workload.queries]
    drafts = [Draft(query) for query in queries[:EXAMINED_MAX]]
    stand = Stand(database, replica, catalog, wishes)
    try:
        await think(drafts, catalog, wishes)
        engine = await engine if isinstance(engine, asyncio.Task) else engine
        await forms(drafts, catalog, engine, wishes)
        indexing = await indexes(drafts, catalog, engine, wishes, workload.seconds)
        if await run_off(drafts, stand, catalog, wishes):
            indexing = await indexes(drafts, catalog, engine, wishes, workload.seconds)
        candidates = await views(drafts, catalog, engine, wishes)
        picked = frozenset(one.candidate.name for one in indexing.choice.picked)
        for draft in drafts:
            await _plans(draft, engine, picked)
            draft.alone = why_alone(draft, indexing.candidates, catalog, indexing.choice)
        told = await _engine(engine, workload, catalog, indexing.choice.tried)
        anew = partial(again, drafts, catalog, engine, wishes, workload.seconds, indexing)
        way, proved = await prove(drafts, indexing.choice, anew, stand, catalog, wishes)
        for draft in drafts if way.names != picked else ():
            await _plans(draft, engine, way.names)
        found = Found(
            workload, catalog, wishes, drafts, replace(indexing, choice=way.choice), candidates, proved, stand,
            others=queries[EXAMINED_MAX:],
        )  # fmt: skip
        found.engine = replace(
            told,
            read_bytes=told.read_bytes + stand.bytes,
            read_seconds=told.read_seconds + stand.seconds,
            seconds=time.perf_counter() - began,
        )
        return tell(found)
    finally:
        await stand.close()


def _with_example(query: Query) -> Query:
    """The query with its own text where nobody has given another."""
    return query if query.examples else replace(query, examples=(Example(query.sql, origin="generic"),))


async def _plans(draft: Draft, engine: WhatIf, picked: frozenset[str]) -> None:
    """The plans before and after, as the engine has them; what was run replaces them."""
    path = draft.query.search_path
    before = await engine.plan(draft.query.examples[0].sql, search_path=path)
    after = await engine.plan(draft.asked.examples[0].sql, using=picked, search_path=path)
    draft.refused = before.why if isinstance(before, Refused) else ""
    draft.plan_before = None if isinstance(before, Refused) else before
    draft.plan_after = None if isinstance(after, Refused) else after


async def _engine(engine: WhatIf, workload: Workload, catalog: Catalog, tried: int) -> Engine:
    """What the engine says of itself, and what it took from production; a shadow also how far it is from there."""
    if isinstance(engine, Shadow):
        found = await engine.deviation(workload.queries)
        return replace(
            found,
            read_bytes=found.read_bytes + catalog.read_bytes,
            read_seconds=found.read_seconds + catalog.read_seconds,
        )
    return Engine(
        engine.kind, engine.why, tried=tried, read_bytes=catalog.read_bytes, read_seconds=catalog.read_seconds
    )
