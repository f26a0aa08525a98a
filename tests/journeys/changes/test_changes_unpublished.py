"""A feed that would never be told of what is wanted says so, instead of being silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tercet import Tercet
from tercet.changes import Commit, Wants
from tercet.errors import FeedRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

# Long enough that only a fault reaches it.
SECONDS = 60.0


class Follower:
    """A listener who wants two columns of a table."""

    wants = Wants({"orders": frozenset({"id", "user_id"})})

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Something has come."""
        if any(commit.changes for commit in commits):
            self.heard.set()

    async def resync(self, why: str) -> None:
        """Nothing was derived yet."""


@pytest.mark.parametrize(
    ("publication", "lacks"),
    [
        ("for table users", "publish orders"),
        ("for table orders (id)", "publish more columns of orders"),
        ("for table orders with (publish = 'insert')", "every kind of change"),
        ("for table orders where (id > 7)", "only the rows"),
    ],
)
async def test_what_the_publication_does_not_tell_is_refused(postgres_url: str, publication: str, lacks: str) -> None:
    """With the command that mends it; then it is told."""
    async with asyncio.timeout(SECONDS), Tercet(postgres=postgres_url) as db:
        async with db.postgres.autocommit() as connection:
            await connection.exec_driver_sql("create table users (id int primary key)")
            await connection.exec_driver_sql("create table orders (id int primary key, user_id int not null)")
            await connection.exec_driver_sql(f"create publication tercet {publication}")
        first = db.changes.subscribe(Follower())
        with pytest.raises(FeedRefused, match=lacks) as refused:
            await first.ready()
        assert "tercet doctor --setup 'orders:id,user_id' --apply" in str(refused.value)
        await first.close()
        async with db.postgres.autocommit() as connection:
            await connection.exec_driver_sql("drop publication tercet")
            await connection.exec_driver_sql("create publication tercet for table orders")
        follower = Follower()
        second = db.changes.subscribe(follower)
        await second.ready()
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("insert into orders values (1, 2)")
        await follower.heard.wait()
        await second.close()
