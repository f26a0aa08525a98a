"""What a type checker must let pass."""

from __future__ import annotations

from typing import assert_type

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from tercet.stores import Health, PoolState
from tercet.tercet import Tercet


async def main() -> None:
    """Every way in which a program uses it."""
    db = Tercet(
        postgres="postgresql://h/d",
        postgres_pool_size=20,
        postgres_pool_wait="5s",
        postgres_statement_timeout=30,
        postgres_pooler=True,
        postgres_tls="verify-full",
        redis_timeout=0.5,
        instances=4,
    )
    local = Tercet.local(stores=("postgres",), mongo_timeout="1m")
    async with db, local:
        assert_type(db.postgres.engine, AsyncEngine)
        async with db.postgres.session(within="10m") as session:
            assert_type(session, AsyncSession)
        async with db.postgres.transaction() as connection:
            assert_type(connection, AsyncConnection)
        assert_type(await db.health(), Health)
        assert_type(db.pools(), tuple[PoolState, ...])
        await db.mongo["reviews"].find_one({"stars": 5})
        await db.redis.get("key")
