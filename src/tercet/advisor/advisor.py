"""Advice for one database: its statements planned as they would be with other indexes, and run to prove it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol, cast

from tercet.advisor.advice import Engine
from tercet.advisor.caching import propose as propose_caches
from tercet.advisor.candidates import housekeeping
from tercet.advisor.flow.draft import Draft, Wishes
from tercet.advisor.flow.engines import engine_for
from tercet.advisor.flow.indexing import indexes
from tercet.advisor.flow.proving import Stand, prove, run_off
from tercet.advisor.flow.rewriting import forms
from tercet.advisor.flow.telling import Found, tell
from tercet.advisor.flow.viewing import views
from tercet.advisor.port import Refused
from tercet.advisor.reading import read
from tercet.advisor.workload import from_statistics, from_text, with_values
from tercet.errors import SettingInvalid
from tercet.units import seconds as read_seconds
from tercet.units import size_bytes

if TYPE_CHECKING:
    from tercet.advisor.advice import Advice
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.flow.draft import Verification
    from tercet.advisor.port import Database, EngineKind, Progress, WhatIf
    from tercet.advisor.query import Workload

# Enough for the search to come to its own end on a hundred statements.
THOROUGH_SECONDS = 30.0
# What somebody waits for without a bar.
QUICK_SECONDS = 2.0
# An answer that people look at is seldom asked to be younger.
TOLERATED_AGE = "1m"


class HasPostgres(Protocol):
    """A Tercet."""

    @property
    def postgres(self) -> Database:
        """Its PostgreSQL."""
        ...


async def advise(
    db: Database | HasPostgres,
    workload: Workload | str | None = None,
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

    `workload` is a Workload, SQL text, or None for what pg_stat_statements has counted. `budget` bounds what new
    indexes take together ("500MB"). Quick (`thorough=False`) asks the planner some hundred times; thorough searches
    on for `seconds`. `verify`: "sample" runs everything on a copy in a server of its own (the default when
    thorough), "replica" and "on" run there READ ONLY what needs nothing built, "off" trusts the planner.
    `tolerated_age` is how old an answer from a view may be.

    Raises StatisticsMissing, SettingInvalid, SqlInvalid, ServerMissing (no engine can be had), and what reading the
    database raises.
    """
    if verify == "replica" and replica is None:
        raise SettingInvalid("replica", where="advise()", shown="None", wanted="a database to run on")
    database = cast("Database", getattr(db, "postgres", db))
    wishes = Wishes(
        budget_bytes=size_bytes(budget) if isinstance(budget, str) else budget,
        thorough=thorough,
        seconds=read_seconds(seconds) if seconds is not None else THOROUGH_SECONDS if thorough else QUICK_SECONDS,
        engine=engine or "auto",
        verify=verify or ("sample" if thorough else "off"),
        tolerated_age=read_seconds(tolerated_age),
        progress=on_progress or (lambda _what, _done, _all: None),
    )
    if isinstance(workload, str):
        workload = from_text(workload)
    wishes.progress("reading the schema and its statistics", 0, 0)
    catalog = await read(database)
    if workload is None:
        workload = await from_statistics(database)
    workload = await with_values(database, workload, catalog)
    began = time.perf_counter()
    async with AsyncExitStack() as stack:
        planner = await engine_for(database, catalog, wishes)
        stack.push_async_callback(planner.close)
        return await advised(database, catalog, workload, planner, wishes, replica=replica, began=began)


async def advised(
    database: Database,
    catalog: Catalog,
    workload: Workload,
    engine: WhatIf,
    wishes: Wishes,
    *,
    replica: Database | None = None,
    began: float | None = None,
) -> Advice:
    """The same with an engine that is there already, and stays; `began` is when its making did."""
    began = time.perf_counter() if began is None else began
    drafts = [Draft(query) for query in workload.queries]
    stand = Stand(database, replica, drafts, catalog, wishes)
    try:
        await forms(drafts, catalog, engine, wishes)
        await run_off(drafts, stand, wishes)
        choice = await indexes(drafts, catalog, engine, wishes, workload.seconds)
        candidates = await views(drafts, catalog, engine, wishes)
        picked = frozenset(one.candidate.name for one in choice.picked)
        for draft in drafts:
            await _plans(draft, engine, picked)
        told = await _engine(engine, workload, catalog, choice.tried, time.perf_counter() - began)
        proved = await prove(drafts, choice, stand, catalog, wishes)
    finally:
        await stand.close()
    found = Found(
        workload, drafts, choice, candidates,
        findings=housekeeping(catalog, workload.queries),
        cached=propose_caches(workload.queries, catalog, seconds=workload.seconds),
        proved=proved,
        engine=told,
        budget_bytes=wishes.budget_bytes,
    )  # fmt: skip
    return tell(found)


async def _plans(draft: Draft, engine: WhatIf, picked: frozenset[str]) -> None:
    """The plans before and after, as the engine has them; what was run replaces them."""
    before = await engine.plan(draft.query.examples[0].sql)
    asked = draft.asked
    after = await engine.plan(asked.examples[0].sql, using=picked)
    draft.plan_before = None if isinstance(before, Refused) else before
    draft.plan_after = None if isinstance(after, Refused) else after


async def _engine(engine: WhatIf, workload: Workload, catalog: Catalog, tried: int, took: float) -> Engine:
    """What the engine says of itself; a shadow also how far it is from production."""
    deviation = getattr(engine, "deviation", None)
    found: Engine | None = await deviation(workload.queries) if deviation is not None else None
    if found is None:
        return Engine(engine.kind, engine.why, tried=tried, seconds=took, read_bytes=catalog.read_bytes,
                      read_seconds=catalog.read_seconds)  # fmt: skip
    return found
