"""Which database a command means, and how it is opened for one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from tercet.errors import UsageError
from tercet.servers import status as ask_servers
from tercet.settings import Settings
from tercet.tercet import Tercet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tercet.sql.port import Database

# What advice can be asked for.
Advised = Literal["postgres", "mongo"]
# The questions of one advice come one after the other, and the search asks while statistics are read.
_POOL = 4
_CALLED = {"postgres": "PostgreSQL", "mongo": "MongoDB"}


async def settings_of(address: str | None, folder: Path, store: Advised = "postgres") -> Settings:
    """The settings with the database that is meant: the one named, theirs, or the folder's."""
    settings = Settings.read({store: address})
    if settings.url(store) is None:
        running = {one.store: one.url for one in await ask_servers(folder) if one.url is not None}
        settings = settings.at({one: url for one, url in running.items() if one == store})
    if settings.url(store) is None:
        raise UsageError(
            f"There is no {_CALLED[store]} to ask.",
            f"Give its URL, set TERCET_{store.upper()}_URL, or start one with: tercet up --only {store}",
        )
    return settings


def place_of(settings: Settings, store: Advised = "postgres") -> str:
    """Its address and database, without a password."""
    url = settings.url(store)
    scheme = "" if store == "postgres" else "mongodb://"
    return f"{scheme}{url.place}/{url.database}" if url is not None else ""


@asynccontextmanager
async def opened(settings: Settings, store: Advised = "postgres") -> AsyncIterator[Tercet]:
    """This database alone, with a few connections."""
    alone = replace(settings, redis_url=None, postgres_replica_url=())
    if store == "postgres":
        alone = replace(alone, mongo_url=None, postgres_pool_size=_POOL)
    else:
        alone = replace(alone, postgres_url=None, mongo_pool_size=_POOL)
    async with Tercet.of(alone) as db:
        yield db


async def refuse_replica(database: Database, mend: str) -> None:
    """Raise UsageError where it is a replica: it takes no writes, and counts only what was read there."""
    async with database.transaction() as connection:
        replica = (await connection.exec_driver_sql("select pg_is_in_recovery()")).all()[0][0]
    if replica:
        raise UsageError("This database is a replica.", mend)
