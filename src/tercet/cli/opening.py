"""Which database a command means, and how it is opened for one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.errors import UsageError
from tercet.servers import status as ask_servers
from tercet.settings import Settings
from tercet.tercet import Tercet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tercet.sql.port import Database

# The questions of one advice come one after the other, and the search asks while statistics are read.
_POOL = 4


async def settings_of(address: str | None, folder: Path) -> Settings:
    """The settings with the PostgreSQL that is meant: the one named, theirs, or the folder's."""
    settings = Settings.read({"postgres": address})
    if settings.postgres_url is None:
        running = {one.store: one.url for one in await ask_servers(folder) if one.url is not None}
        settings = settings.at({store: url for store, url in running.items() if store == "postgres"})
    if settings.postgres_url is None:
        raise UsageError(
            "There is no PostgreSQL to ask.",
            "Give its URL, set TERCET_POSTGRES_URL, or start one with: tercet up --only postgres",
        )
    return settings


def place_of(settings: Settings) -> str:
    """Its address and database, without a password."""
    url = settings.url("postgres")
    return f"{url.place}/{url.database}" if url is not None else ""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Tercet]:
    """This PostgreSQL alone, with a few connections."""
    alone = replace(settings, mongo_url=None, redis_url=None, postgres_replica_url=(), postgres_pool_size=_POOL)
    async with Tercet.of(alone) as db:
        yield db


async def refuse_replica(database: Database, mend: str) -> None:
    """Raise UsageError where it is a replica: it takes no writes, and counts only what was read there."""
    async with database.transaction() as connection:
        replica = (await connection.exec_driver_sql("select pg_is_in_recovery()")).all()[0][0]
    if replica:
        raise UsageError("This database is a replica.", mend)
