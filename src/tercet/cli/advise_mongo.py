"""`tercet advise mongodb://…`: the same for MongoDB: advice, and what of it is done on the database."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.mongo import advise_mongo, from_files, from_log
from tercet.advisor.mongo import apply as apply_piece
from tercet.advisor.report import Kept
from tercet.cli.advise_steps import numbers, picked
from tercet.cli.opening import opened, place_of, settings_of
from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tercet.advisor import Piece
    from tercet.advisor.mongo import MongoWorkload
    from tercet.advisor.port import Progress
    from tercet.cli.screen import Screen

_SCHEMES = ("mongodb://", "mongodb+srv://")


@dataclass(frozen=True, slots=True)
class MongoWish:
    """What a person has asked for."""

    address: str
    folder: Path
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


def apply(kept: Kept, address: str | None, folder: Path, wanted: str, screen: Screen) -> bool:
    """Do pieces of advice for MongoDB, each told when it is done; whether all of them stand."""
    # What replaces others comes before they go.
    pieces = sorted(picked(kept.advice, numbers(wanted)), key=lambda one: one.kind == "drop_index")
    return asyncio.run(_apply(kept, address, folder, pieces, screen))


def is_for_mongo(kept: Kept) -> bool:
    """Whether this advice is for a MongoDB."""
    return kept.place.startswith("mongodb")


async def _ask(wish: MongoWish, told: Progress) -> Kept:
    settings = await settings_of(wish.address, wish.folder, "mongo")
    workload: MongoWorkload | None = None
    if wish.pipelines:
        collection = wish.collections[0] if len(wish.collections) == 1 else ""
        workload = from_files(wish.pipelines, collection=collection)
    async with opened(settings, "mongo") as db:
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
    return Kept(advice, place_of(settings, "mongo"), time.time())


async def _apply(kept: Kept, address: str | None, folder: Path, pieces: Sequence[Piece], screen: Screen) -> bool:
    settings = await settings_of(address, folder, "mongo")
    place = place_of(settings, "mongo")
    if place != kept.place:
        mend = "Name that one, or ask for advice anew."
        raise UsageError(f"The last advice is for {kept.place}, and not for {place}.", mend)
    stand = True
    async with opened(settings, "mongo") as db:
        for piece in pieces:
            applied = await apply_piece(db.mongo, piece)
            screen.result(f"{piece.number}  {applied.why}")
            stand = stand and applied.done
    return stand
