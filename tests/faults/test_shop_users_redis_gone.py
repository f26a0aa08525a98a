"""The recipe while Redis is away: updates go on, and what they have made untrue is dropped when it is back."""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest

from tercet import Cache, Tercet
from tercet_shop.models import create_schema
from tercet_shop.users import Account, UserCacheService

PATIENCE_SECONDS = 60.0


class Server(Protocol):
    """The server of conftest."""

    url: str

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_update_while_redis_is_away_is_delivered_when_it_is_back(
    postgres_url: str, own_redis: Server, cancelled: bool
) -> None:
    """It is committed, seen here at once and elsewhere once it was delivered, also where its caller has gone."""
    async with (
        Tercet(postgres=postgres_url) as db,
        Cache(own_redis.url) as one,
        Cache(own_redis.url) as two,
    ):
        async with db.postgres.transaction() as connection:
            await create_schema(connection)
        here, there = UserCacheService(db, one), UserCacheService(db, two)
        user = await here.create(name="Mia", email="mia@example.com", country="GB", status="active")
        for service in (here, there):
            assert await service.user(user.id) == user
            assert await service.active() == 1

        own_redis.freeze()
        # Where the caller is cancelled while the drop is on its way, the row is changed all the same.
        updating = asyncio.create_task(here.deactivate(user.id))
        if cancelled:
            while not one.stats().undelivered:
                await asyncio.sleep(0)
            updating.cancel()
        await asyncio.wait([updating])
        assert updating.cancelled() is cancelled
        changed = Account(user.id, "Mia", "mia@example.com", "inactive", "GB")
        assert one.stats().undelivered
        assert await here.user(user.id) == changed
        assert await here.active() == 0

        own_redis.thaw()
        await one.delivered(wait=PATIENCE_SECONDS)
        assert one.stats().undelivered == 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await there.user(user.id) != changed or await there.active() != 0:
                await asyncio.sleep(0.01)
