"""The main job from end to end, on servers that run: a shop of its own is filled, and the ladder climbed on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import text

from tercet import Tercet
from tercet.migrations import alone
from tercet.sql import identifier
from tercet_shop.ladder import Climbed, climb
from tercet_shop.load import prepare
from tercet_shop.retail_shop import prepare_from_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from tercet.servers import Addresses
    from tercet_shop.loaded import Loaded
    from tercet_shop.port import Progress
    from tercet_shop.retail import Cleaned

# A database of its own in each store: whoever uses these servers for something else finds it untouched.
DATABASE = "tercet_shop"

# Index builds and fills of the full size take minutes; the demo is watched by a person, who can end it.
_STATEMENT_TIMEOUT = "30m"

_KNOWN = text("select 1 from pg_database where datname = :name")


@dataclass(frozen=True, slots=True)
class Plan:
    """Which shop to climb on: a generated one of this size and seed, or the orders of a file."""

    users: int
    orders: int
    seed: int = 1
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """The shop as it stands; `postgres` and `mongo` are None where it stood already, `cleaned` is of a file."""

    since: datetime
    data: dict[str, int | str]
    postgres: Loaded | None
    mongo: Loaded | None
    cleaned: Cleaned | None = None


@asynccontextmanager
async def opened(addresses: Addresses) -> AsyncIterator[Tercet]:
    """A Tercet on the shop's own databases, made where they are missing; LockBusy when another demo runs on them."""
    async with (
        Tercet(postgres=addresses.postgres, postgres_pool_size=2) as servers,
        servers.postgres.autocommit() as connection,
        alone(connection, "the demo on these servers", wait=0),
    ):
        known = await connection.execute(_KNOWN, {"name": DATABASE})
        if known.first() is None:
            await connection.exec_driver_sql(f"create database {identifier(DATABASE)}")
        async with Tercet(
            postgres=_in_database(addresses.postgres),
            mongo=_in_database(addresses.mongo),
            redis=addresses.redis,
            postgres_statement_timeout=_STATEMENT_TIMEOUT,
        ) as db:
            yield db


async def fill(db: Tercet, plan: Plan, progress: Progress) -> Filled:
    """Make the stores hold the plan's shop; what was loaded before with the same facts is kept."""
    if plan.file is None:
        shop = await prepare(db, users=plan.users, orders=plan.orders, seed=plan.seed, on_progress=progress)
        cleaned, name, origin = None, "seed", str(plan.seed)
    else:
        from_file = await prepare_from_file(db, plan.file, on_progress=progress)
        shop, cleaned, name, origin = from_file.shop, from_file.cleaned, "from", plan.file.name
    data: dict[str, int | str] = {"users": shop.facts.users, "orders": shop.facts.orders}
    data |= {"since": f"{shop.since:%Y-%m-%d}", name: origin}
    return Filled(shop.since, data, shop.postgres, shop.mongo, cleaned)


async def ladder(db: Tercet, filled: Filled, progress: Progress) -> Climbed:
    """Climb the ladder on the filled shop, by what the advisor says."""
    return await climb(db, since=filled.since, data=filled.data, progress=progress)


def _in_database(url: str | None) -> str | None:
    return None if url is None else urlsplit(url)._replace(path=f"/{DATABASE}").geturl()
