"""The what-if engine on HypoPG: what it promises where the extension is, and what it says where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tercet import Tercet
from tercet.advisor.candidate import Candidate
from tercet.advisor.choice import choose
from tercet.advisor.hypopg import Hypopg, hypopg
from tercet.advisor.port import Costed, Refused, Supposed
from tercet.advisor.query import Example, Query
from tercet.advisor.reading import read
from tercet.errors import CommandRefused
from tercet.sql import Index, Plan, Statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ASKED = 'select * from "Odd orders" where user_id = 42'
_INDEX = Index("odd_user_idx", ("public", "Odd orders"), ("user_id",))


async def _filled(db: Tercet) -> None:
    async with db.postgres.autocommit() as connection:
        await connection.exec_driver_sql('create table "Odd orders" (id int, user_id int, total int, pad text)')
        await connection.exec_driver_sql(
            """insert into "Odd orders" select i, i % 5000, i, repeat('x', 80) from generate_series(1, 50000) i"""
        )
        await connection.exec_driver_sql('vacuum analyze "Odd orders"')


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[tuple[Tercet, Hypopg]]:
    """An engine on a table of 50,000 rows; skipped where the server has no such extension."""
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.autocommit() as connection:
            offered = await connection.exec_driver_sql("select 1 from pg_available_extensions where name = 'hypopg'")
            if not offered.all():
                pytest.skip("this server does not offer hypopg")
            await connection.exec_driver_sql("create extension hypopg")
        await _filled(db)
        async with await hypopg(db.postgres, await read(db.postgres)) as made:
            yield db, made


async def test_a_server_without_the_extension_is_told_what_to_do(postgres_url: str) -> None:
    """The error names the extension and both ways out, and the connection goes back to the pool."""
    async with Tercet(postgres=postgres_url) as db:
        catalog = await read(db.postgres)
        with pytest.raises(CommandRefused, match="CREATE EXTENSION hypopg"):
            await hypopg(db.postgres, catalog)
        async with db.postgres.autocommit() as connection:
            assert (await connection.exec_driver_sql("select 1")).all()


async def test_a_supposed_index_is_planned_with_and_not_without(engine: tuple[Tercet, Hypopg]) -> None:
    """It is used under its own name when it is asked for, at a size that shares entries, and nothing stays behind."""
    db, made = engine
    answer = (await made.suppose([_INDEX]))[_INDEX.name]
    assert isinstance(answer, Supposed)
    # 5,000 keys of ten rows each share their entries: without that it would be three times as large.
    assert answer.size_bytes < 600_000
    without, using = await made.cost(_ASKED), await made.cost(_ASKED, using=[_INDEX.name])
    assert isinstance(without, Costed)
    assert isinstance(using, Costed)
    assert using.total < without.total
    assert using.used == {_INDEX.name}
    assert without.used == frozenset()
    generic = await made.plan('select * from "Odd orders" where user_id = $1', using=[_INDEX.name])
    assert isinstance(generic, Plan)
    assert generic.indexes == (_INDEX.name,)
    assert isinstance(await made.plan("select * from nowhere"), Refused)
    await made.close()
    await made.close()
    async with db.postgres.autocommit() as connection:
        found = await connection.exec_driver_sql("select count(*) from pg_indexes where schemaname = 'public'")
        assert found.all()[0][0] == 0
        found = await connection.exec_driver_sql("show default_transaction_read_only")
        assert found.all()[0][0] == "off"


async def test_the_cost_of_the_way_down_is_put_right(engine: tuple[Tercet, Hypopg]) -> None:
    """With the index really built, the cost is within a twentieth of what was supposed."""
    db, made = engine
    await made.suppose([_INDEX])
    supposed = await made.cost(_ASKED, using=[_INDEX.name])
    async with db.postgres.autocommit() as connection:
        await connection.exec_driver_sql(_INDEX.create(concurrently=False).replace("odd_user_idx", "real_idx"))
    real = await made.cost(_ASKED)
    assert isinstance(supposed, Costed)
    assert isinstance(real, Costed)
    assert supposed.total == pytest.approx(real.total, rel=0.05)


async def test_indexes_are_chosen_with_it(engine: tuple[Tercet, Hypopg]) -> None:
    """The whole way: the index that helps is taken."""
    db, made = engine
    asks = Query(Statement(_ASKED), (Example(_ASKED),))
    candidate = Candidate(_INDEX, "equality", "asked", frozenset({asks.fingerprint}))
    choice = await choose(
        [asks], [candidate], made, await read(db.postgres), budget_bytes=None, thorough=False, seconds=60.0
    )
    assert [one.candidate.name for one in choice.picked] == [_INDEX.name]
    assert choice.ms_after < choice.ms_before
