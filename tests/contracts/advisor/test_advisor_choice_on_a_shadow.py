"""The choice over a real planner: what it promises holds for plans of a server, not only for those of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor.candidates import propose
from tercet.advisor.choice import Choice, Observation, choose
from tercet.advisor.query import Example, Query
from tercet.advisor.reading import read
from tercet.advisor.shadow import shadow
from tercet.clock import StoppedClock
from tercet.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = """
create table users (id int primary key, city text not null);
create table orders (id int primary key, user_id int not null, placed date not null, total int not null, note text);
insert into users select i, 'c' || i % 50 from generate_series(1, 5000) i;
insert into orders select i, (i * 7919) % 5000 + 1, date '2024-01-01' + i % 365, i % 1000, repeat('x', 120)
  from generate_series(1, 60000) i;
"""
ASKED = (
    "select * from orders where user_id = 17",
    "select sum(total) from orders where placed = '2024-03-01'",
    "select u.city, o.total from users u join orders o on o.user_id = u.id where u.id = 3",
    "select count(*) from orders",
    "select * from orders where id = 5",
)
MB = 1024 * 1024
# The clock stands still: what ends the search is what was asked.
SECONDS = 1.0


@pytest.mark.asyncio
async def test_the_choice_holds_over_a_shadow(postgres_url: str) -> None:
    """The indexes that are needed, within the budget, by few EXPLAINs, the same again, and another after a bad run."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(SCHEMA)
    await connection.execute("vacuum analyze")
    await connection.close()
    queries = [Query(Statement(sql), (Example(sql),), label=sql) for sql in ASKED]
    async with Tercet(postgres=postgres_url) as db:
        catalog = await read(db.postgres)
        candidates = propose(queries, catalog)
        async with await shadow(db.postgres, catalog) as engine:

            async def chosen(observed: Sequence[Observation] = (), budget: int | None = None) -> Choice:
                return await choose(
                    queries, candidates, engine, catalog,
                    budget_bytes=budget, thorough=False, seconds=SECONDS, observed=observed, clock=StoppedClock(),
                )  # fmt: skip

            free = await chosen()
            again = await chosen()
            narrow = await chosen(budget=min(one.supposed.size_bytes for one in free.picked))
            nothing = await chosen(budget=8192)
            taught = await chosen(_as_if_slower(free))
    firsts = {one.candidate.index.keys[0].of for one in free.picked}
    assert firsts == {"user_id", "placed"}
    assert free.ended
    assert free.tried <= 15 * len(queries)
    assert free.ms_after < free.ms_before / 2
    assert [one.candidate.name for one in again.picked] == [one.candidate.name for one in free.picked]
    assert narrow.size_bytes <= min(one.supposed.size_bytes for one in free.picked)
    assert nothing.picked == ()
    # Whatever was run is told to be twice as slow: nothing of it is taken a second time.
    assert not {one.candidate.name for one in taught.picked} & {one.candidate.name for one in free.picked}


def _as_if_slower(choice: Choice) -> list[Observation]:
    names = frozenset(one.candidate.name for one in choice.picked)
    return [Observation(one.fingerprint, names, 20.0, 10.0) for one in choice.outlooks if one.used & names]


RULED = """
create table parcels (id int primary key, tracking int not null, note text not null);
create table scans (id int primary key, tracking int not null, place text not null);
insert into parcels select i, i * 7, repeat('n', 100) from generate_series(1, 40000) i;
insert into scans select i, (i % 40000) * 7, 'p' || i % 30 from generate_series(1, 80000) i;
"""


@pytest.mark.asyncio
async def test_an_index_is_unique_only_where_the_planner_gains_by_it(postgres_url: str) -> None:
    """A LEFT JOIN to at most one row whose columns nobody reads falls away by the rule; a look-up gains nothing."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(RULED)
    await connection.execute("vacuum analyze")
    await connection.close()
    joined = "select sum(s.id) from scans s left join parcels p on p.tracking = s.tracking"
    found = "select note from parcels where tracking = 7007"
    async with Tercet(postgres=postgres_url) as db:
        catalog = await read(db.postgres)
        async with await shadow(db.postgres, catalog) as engine:

            async def unique(sql: str) -> list[bool]:
                queries = [Query(Statement(sql), (Example(sql),), calls=100.0)]
                choice = await choose(
                    queries, propose(queries, catalog), engine, catalog,
                    budget_bytes=None, thorough=True, seconds=SECONDS, clock=StoppedClock(), run=True,
                )  # fmt: skip
                return [one.candidate.index.unique for one in choice.picked]

            assert await unique(joined) == [True]
            assert await unique(found) == [False]
