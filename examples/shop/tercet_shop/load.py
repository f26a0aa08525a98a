"""Brings a shop into the stores, once: a second call with the same facts finds it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet_shop.generate import GeneratedShop
from tercet_shop.mongo import load_mongo
from tercet_shop.plan import LINED_ORDERS, ShopSize
from tercet_shop.port import Progress, Stores, silent
from tercet_shop.postgres import documents_turn, load_postgres

if TYPE_CHECKING:
    from datetime import datetime

    from tercet_shop.loaded import Loaded
    from tercet_shop.tables import Facts, Source


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop that stands in the stores.

    `postgres` and `mongo` say what loading took; None where it stood already, or was not asked for.

    `since` is from when on a user counts as new in the ladder's question.
    """

    facts: Facts
    since: datetime
    postgres: Loaded | None
    mongo: Loaded | None


async def prepare(
    db: Stores,
    *,
    users: int,
    orders: int,
    seed: int = 1,
    lined_orders: int = LINED_ORDERS,
    documents: bool = True,
    on_progress: Progress = silent,
) -> Shop:
    """Make the stores hold the generated shop of this size and seed; `load` says what is left alone."""
    source = GeneratedShop(ShopSize(users, orders, lined_orders), seed)
    return await load(db, source, documents=documents, on_progress=on_progress)


async def load(db: Stores, source: Source, *, documents: bool = True, on_progress: Progress = silent) -> Shop:
    """Make PostgreSQL, and MongoDB where `documents` are wanted, hold exactly the shop of this source.

    What was loaded with the same facts before is left as it stands. Another shop is replaced; tables and
    collections that are not the shop's are never touched (NotTheShops). Killed in the middle, PostgreSQL
    holds what it held before, and a collection that is not whole is begun anew.
    """
    relational = await load_postgres(db.postgres, source, on_progress)
    held = None
    if documents:
        async with documents_turn(db.postgres):
            held = await load_mongo(db.mongo, source, on_progress)
    return Shop(facts=source.facts, since=source.since, postgres=relational, mongo=held)
