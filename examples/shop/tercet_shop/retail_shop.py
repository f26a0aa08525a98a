"""The orders of a file as a shop: the same tables and documents, filled from what a real shop has sold."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tercet_shop import words as syllables
from tercet_shop.assemble import Ints, Texts, texts
from tercet_shop.load import Shop, load
from tercet_shop.port import Progress, Stores, silent
from tercet_shop.retail import ACTIVE_DAYS, DAY, Cleaned, RetailOrders, read_orders
from tercet_shop.tables import BLOCK, Catalogue, Facts, Lines, Orders, Users, no_lines

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

# Raised whenever the same file gives other rows than before.
VERSION = 1

# The file knows no categories.
CATEGORY = "Not sorted"

# Two odd factors that scatter customers' numbers over the names.
_FIRST_FACTOR, _LAST_FACTOR = 7_919, 104_729


@dataclass(frozen=True, slots=True)
class FileShop:
    """A shop that was loaded from a file, and what was kept of that."""

    shop: Shop
    cleaned: Cleaned


class RetailShop:
    """The orders of a file; a Source for loading."""

    __slots__ = ("_facts", "_letters", "_orders", "_starts", "_statuses")

    def __init__(self, orders: RetailOrders) -> None:
        self._orders = orders
        self._letters = texts(orders.countries).matrix
        self._statuses = (texts(("active", "inactive")), texts(("completed",)))
        self._starts = np.searchsorted(orders.order, np.arange(orders.cleaned.kept_orders + 1))
        count = orders.cleaned.kept_orders
        self._facts = Facts(
            version=VERSION,
            origin=f"file {_fingerprint(orders)}",
            seed=0,
            users=orders.cleaned.customers,
            orders=count,
            lined_orders=count,
        )

    @property
    def facts(self) -> Facts:
        """What the rows are made from: the file's orders, by their fingerprint."""
        return self._facts

    @property
    def since(self) -> datetime:
        """From when on a user counts as new in the ladder's question."""
        return self._orders.since

    def catalogue(self) -> Catalogue:
        """All products that were sold, at the price of their last sale."""
        orders = self._orders
        count = len(orders.skus)
        # How much is left is not in the file; as much again as was sold will do for new orders.
        sold = np.bincount(orders.product, orders.quantity, minlength=count)
        return Catalogue(
            category_names=(CATEGORY,),
            category=np.ones(count, dtype=np.int64),
            created=orders.product_created,
            stock=np.minimum(sold, np.iinfo(np.int32).max).astype(np.int64),
            pence=orders.product_pence,
            sku=texts(orders.skus),
            name=texts(orders.names),
        )

    def users(self, block: int) -> Users:
        """The customers of one block, by their first order."""
        rows = slice(block * BLOCK, (block + 1) * BLOCK)
        orders = self._orders
        customer, created = orders.customer[rows], orders.user_created[rows]
        quiet = int(orders.order_created[-1]) - orders.user_last[rows] > ACTIVE_DAYS * DAY
        first = _names(syllables.first_names(), customer * _FIRST_FACTOR)
        last = _names(syllables.last_names(), customer * _LAST_FACTOR)
        mailbox = texts(f"customer.{number}" for number in customer.tolist())
        return Users(
            id=np.arange(rows.start, rows.start + len(customer)) + 1,
            created=created,
            updated=orders.user_last[rows],
            status=self._statuses[0][quiet.astype(np.int64)],
            country=self._letters[orders.user_country[rows]],
            name=(first, b" ", last),
            email=(mailbox, b"@example.com"),
        )

    def orders(self, block: int) -> Orders:
        """The orders of one block, by their moment."""
        rows = slice(block * BLOCK, (block + 1) * BLOCK)
        orders = self._orders
        created = orders.order_created[rows]
        return Orders(
            id=np.arange(rows.start, rows.start + len(created)) + 1,
            user=orders.order_user[rows] + 1,
            created=created,
            updated=created,
            pence=orders.order_pence[rows],
            status=self._statuses[1][np.zeros(len(created), dtype=np.int64)],
            country=self._letters[orders.order_country[rows]],
        )

    def lines(self, block: int) -> Lines:
        """The lines of one block's orders."""
        orders = self._orders
        count = orders.cleaned.kept_orders
        first, last = min(block * BLOCK, count), min((block + 1) * BLOCK, count)
        if first == last:
            return no_lines()
        rows = slice(int(self._starts[first]), int(self._starts[last]))
        order = orders.order[rows]
        return Lines(
            order=order + 1,
            line=np.arange(rows.start, rows.stop) - self._starts[order] + 1,
            quantity=orders.quantity[rows],
            product=orders.product[rows] + 1,
            pence=orders.pence[rows],
        )


async def prepare_from_file(
    db: Stores, path: Path, *, documents: bool = True, on_progress: Progress = silent
) -> FileShop:
    """Make the stores hold the orders of this file; raises FileUnfit where it has none.

    `retail` says what counts as an order, and the answer's `cleaned` how much was dropped and why.
    """
    on_progress("file", 0, 1)
    orders = await asyncio.to_thread(read_orders, path)
    source = RetailShop(orders)
    on_progress("file", 1, 1)
    shop = await load(db, source, documents=documents, on_progress=on_progress)
    return FileShop(shop=shop, cleaned=orders.cleaned)


def _names(names: list[str], numbers: Ints) -> Texts:
    return texts(names)[numbers % len(names)]


def _fingerprint(orders: RetailOrders) -> str:
    """The same for the same orders, from whatever file they come."""
    held = hashlib.sha256()
    columns = (orders.customer, orders.order_user, orders.order_created, orders.order_country)
    for column in (*columns, orders.order, orders.product, orders.quantity, orders.pence):
        held.update(np.ascontiguousarray(column, dtype="<i8").tobytes())
    for told in (orders.countries, orders.skus, orders.names):
        held.update("\0".join(told).encode())
    return held.hexdigest()
