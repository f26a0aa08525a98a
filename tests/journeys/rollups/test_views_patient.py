"""Building takes as long as it takes, whatever the limit for ordinary statements is."""

from __future__ import annotations

import pytest

from tercet import Tercet
from tercet.errors import DeadlinePassed
from tercet.rollups import Summary, create_summary, create_view, refresh_view
from tercet.sql import View

SLOW = View("slow", "select id, pg_sleep(0.2)::text as slept from users", key=("id",))


async def test_views_and_summaries_may_take_longer_than_an_ordinary_statement(postgres_url: str) -> None:
    """A service's limit of 100 ms for a statement ends no build and no refresh."""
    async with Tercet(postgres=postgres_url, postgres_statement_timeout="100ms") as db:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("create table users (id bigint primary key)")
            await connection.exec_driver_sql("create table orders (user_id bigint)")
            await connection.exec_driver_sql("insert into users values (1), (2)")
        with pytest.raises(DeadlinePassed):
            async with db.postgres.transaction() as connection:
                await connection.exec_driver_sql(SLOW.query)
        assert (await create_view(db.postgres, SLOW)).seconds > 0.2
        assert (await refresh_view(db.postgres, SLOW)).seconds > 0.2
        summary = Summary("totals", parent="users", child="orders", child_key="user_id")
        assert not (await create_summary(db.postgres, summary)).existed
