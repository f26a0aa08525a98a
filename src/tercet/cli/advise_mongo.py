"""`tercet advise mongodb://…`: the same for MongoDB: advice, and what of it is done on the database."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.advisor.mongo import Applied, advise_mongo, from_files, from_log
from tercet.advisor.mongo import apply as apply_piece
from tercet.advisor.report import Kept
from tercet.cli.advise_steps import numbers, picked
from tercet.errors import UsageError
from tercet.settings import Settings
from tercet.tercet import Tercet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tercet.advisor import Piece
    from tercet.advisor.mongo import MongoWorkload
    from tercet.advisor.port import Progress
    from tercet.cli.screen import Screen

_SCHEMES = ("mongodb://", "mongodb+srv://")
# Several looks at once: the sample is read collection by collection.
_POOL = 4


@dataclass(frozen=True, slots=True)
class MongoWish:
    """What a person has asked for."""

    address: str
    collections: tuple[str, ...]
    pipelines: tuple[Path, ...]
    logs: tuple[Path, ...]
    budget: int | None
    thorough: bool
    verify: str | None


def mongo_address(address: str | None) -> str | None:
    """The address, if it is one of MongoDB."""
    return address if address is not None and address.startswith(_SCHEMES) else None


def ask(wish: MongoWish, told: Progress) -> Kept:
    """The advice for this database. Raises UsageError where an option is not meant for MongoDB."""
    if wish.verify == "replica":
        mend = "Its sample is read from a secondary wherever there is one: leave --verify out."
        raise UsageError("--verify replica is PostgreSQL's.", mend)
    return asyncio.run(_ask(wish, told))


def apply(kept: Kept, address: str | None, wanted: str, screen: Screen) -> None:
    """Do pieces of advice for MongoDB: an index is made hidden, looked at, and shown."""
    settings = _settings(address)
    if _place(settings) != kept.place:
        mend = "Name that one, or ask for advice anew."
        raise UsageError(f"The last advice is for {kept.place}, and not for {_place(settings)}.", mend)
    pieces = picked(kept.advice, numbers(wanted))
    for done in asyncio.run(_apply(settings, pieces)):
        screen.result(done.why)


def is_for_mongo(kept: Kept) -> bool:
    """Whether this advice is for a MongoDB."""
    return kept.place.startswith("mongodb")


async def _ask(wish: MongoWish, told: Progress) -> Kept:
    settings = _settings(wish.address)
    workload: MongoWorkload | None = None
    if wish.pipelines:
        collection = wish.collections[0] if len(wish.collections) == 1 else ""
        workload = from_files(wish.pipelines, collection=collection)
    async with _opened(settings) as db:
        if wish.logs:
            workload = from_log(wish.logs, database=db.mongo.name, on_progress=told)
        advice = await advise_mongo(
            db.mongo,
            workload=workload,
            collections=wish.collections or None,
            budget=wish.budget,
            thorough=wish.thorough,
            verify="off" if wish.verify == "off" else "sample",
            on_progress=told,
        )
    return Kept(advice, _place(settings), time.time())


async def _apply(settings: Settings, pieces: Sequence[Piece]) -> list[Applied]:
    async with _opened(settings) as db:
        return [await apply_piece(db.mongo, piece) for piece in pieces]


def _settings(address: str | None) -> Settings:
    settings = Settings.read({"mongo": address})
    if settings.mongo_url is None:
        raise UsageError("There is no MongoDB to do it on.", "Give its URL, or set TERCET_MONGO_URL.")
    return settings


def _place(settings: Settings) -> str:
    """Its address and database, without a password."""
    url = settings.url("mongo")
    return f"mongodb://{url.place}/{url.database}" if url is not None else ""


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Tercet]:
    """This MongoDB alone, with a few connections."""
    alone = replace(settings, postgres_url=None, redis_url=None, postgres_replica_url=(), mongo_pool_size=_POOL)
    async with Tercet.of(alone) as db:
        yield db
