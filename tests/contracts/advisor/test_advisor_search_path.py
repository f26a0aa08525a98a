"""Every engine plans a statement under its own search_path: one name is another table under another path."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tercet import Tercet
from tercet.advisor.candidate import Candidate
from tercet.advisor.choice import choose
from tercet.advisor.hypopg import hypopg
from tercet.advisor.port import Costed, Refused, Supposed
from tercet.advisor.query import Example, Query
from tercet.advisor.reading import read
from tercet.advisor.sandbox import copy
from tercet.advisor.shadow import Shadow, shadow
from tercet.advisor.trial import Trial
from tercet.sql import Index, Plan, Statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tercet.advisor.port import WhatIf

_SETUP = (
    'create schema "Tenant A"',
    'create schema "Tenant B"',
    'create table "Tenant A".orders (id int, user_id int, pad text)',
    'create table "Tenant B".orders (id int, user_id int, pad text)',
    """insert into "Tenant A".orders select i, i, repeat('x', 80) from generate_series(1, 20000) i""",
    """insert into "Tenant B".orders select i, i, repeat('x', 80) from generate_series(1, 40000) i""",
    "create extension if not exists hypopg",
    "vacuum analyze",
)
_ASKED = "select * from orders where user_id = 42"
_GENERIC = "select * from orders where user_id = $1"
_A, _B = ("Tenant A",), ("Tenant B", "public")
_INDEX = Index("b_user_idx", ("Tenant B", "orders"), ("user_id",))


@pytest.fixture(params=["shadow", "hypopg", "trial"])
async def world(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[tuple[Tercet, WhatIf]]:
    """A database of two schemas that hold a table of one name, and an engine on it."""
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Tercet(postgres=postgres_url))
        async with db.postgres.autocommit() as connection:
            offered = await connection.exec_driver_sql("select 1 from pg_available_extensions where name = 'hypopg'")
            there = bool(offered.all())
            if request.param == "hypopg" and not there:
                pytest.skip("this server does not offer hypopg")
            for statement in _SETUP:
                if there or "extension" not in statement:
                    await connection.exec_driver_sql(statement)
        catalog = await read(db.postgres)
        engine: WhatIf
        if request.param == "trial":
            engine = Trial(await stack.enter_async_context(await copy(db.postgres, catalog, list(catalog.tables))))
        else:
            engine = await (shadow if request.param == "shadow" else hypopg)(db.postgres, catalog)
        stack.push_async_callback(engine.close)
        yield db, engine


async def _cost(engine: WhatIf, path: tuple[str, ...], *using: str, sql: str = _ASKED) -> Costed:
    found = await engine.cost(sql, using=using, search_path=path)
    assert isinstance(found, Costed), found
    return found


async def test_a_statement_is_planned_under_its_own_search_path(world: tuple[Tercet, WhatIf]) -> None:
    """The table is that of the path, with $1 too; the next statement without a path has the connection's own."""
    _, engine = world
    assert isinstance((await engine.suppose([_INDEX]))[_INDEX.name], Supposed)
    small, large = await _cost(engine, _A), await _cost(engine, _B)
    assert small.total < 0.7 * large.total
    for sql in (_ASKED, _GENERIC):
        assert (await _cost(engine, _A, _INDEX.name, sql=sql)).used == frozenset()
        assert (await _cost(engine, _B, _INDEX.name, sql=sql)).used == {_INDEX.name}
        plan = await engine.plan(sql, using=[_INDEX.name], search_path=_B)
        assert isinstance(plan, Plan)
        assert plan.indexes == (_INDEX.name,)
    assert isinstance(await engine.cost(_ASKED), Refused)
    # What is supposed after a path was set means the same as before.
    other = Index("a_user_idx", ("Tenant A", "orders"), ("user_id",), where="user_id < 100")
    await _cost(engine, _B)
    assert isinstance((await engine.suppose([other]))[other.name], Supposed)
    assert (await _cost(engine, _A, other.name)).used == {other.name}


async def test_the_choice_is_for_the_table_that_the_path_means(world: tuple[Tercet, WhatIf]) -> None:
    """An index of the path's table is picked for the statement; without the path nothing can be planned."""
    db, engine = world
    catalog = await read(db.postgres)
    statement, example = Statement(_ASKED), Example(_ASKED)
    candidate = Candidate(_INDEX, "equality", "finds the rows", frozenset({statement.fingerprint}))
    for path, picked in ((_B, [_INDEX.name]), ((), [])):
        query = Query(statement, (example,), calls=100.0, search_path=path)
        choice = await choose([query], [candidate], engine, catalog, budget_bytes=None, thorough=False, seconds=60)
        assert [one.candidate.name for one in choice.picked] == picked
    if isinstance(engine, Shadow):
        query = Query(statement, (example,), search_path=_B)
        assert (await engine.deviation([query])).same_plans == 1
