"""A shop of any size out of a seed: the same seed and size give the same rows, block by block or all at once.

What it needs to hold at once is 8 bytes for an order and about 20 for a user; everything else is made by
the block.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from tercet_shop import figures
from tercet_shop import words as syllables
from tercet_shop.assemble import Bytes, Ints, Texts, texts
from tercet_shop.baskets import Baskets
from tercet_shop.calendar import BEGIN, DAY, END
from tercet_shop.dice import uniform, words
from tercet_shop.models import ORDER_STATUSES, USER_STATUSES
from tercet_shop.plan import Plan, ShopSize
from tercet_shop.tables import BLOCK, Catalogue, Facts, Lines, Orders, Parts, Users, indexes

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Raised whenever other rows or another schema come out of the same arguments.
VERSION = 1

# The states users are in: chosen, the file shows none.
USER_STATUS_SHARES = (0.45, 0.35, 0.20)

# Half of what was taken back never left the house. Older than this an order is over.
SHARE_CANCELLED = figures.TAKEN_BACK / 2
SHARE_RETURNED = figures.TAKEN_BACK / 2
DAYS_PENDING, DAYS_PAID, DAYS_SHIPPED = 1, 3, 14
_PENDING, _PAID, _SHIPPED, _COMPLETED, _CANCELLED, _RETURNED = range(len(ORDER_STATUSES))

# From when on a user counts as new in the ladder's question.
SINCE = datetime(2024, 1, 1, tzinfo=UTC)

_DIGITS = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)
# 36 ** 7 is more than USERS_MAX.
_ID_DIGITS = 7


class GeneratedShop:
    """A shop drawn from the fitted figures; a Source for loading."""

    __slots__ = ("_baskets", "_drawn", "_emails", "_names", "_seed", "_size", "_statuses")

    def __init__(self, size: ShopSize, seed: int) -> None:
        self._size, self._seed = size, seed
        self._baskets = Baskets(size.products, seed)
        first, last = syllables.first_names(), syllables.last_names()
        self._names = (texts(first), texts(last))
        self._emails = (
            texts(map(syllables.mailbox, first)),
            texts(map(syllables.mailbox, last)),
            texts(syllables.DOMAINS),
        )
        self._statuses = (texts(USER_STATUSES), texts(ORDER_STATUSES))
        # Drawn when the first row is asked for: a shop that stands already needs none.
        self._drawn: Plan | None = None

    @property
    def facts(self) -> Facts:
        """What the rows are made from."""
        lined = min(self._size.lined_orders, self._size.orders)
        return Facts(
            version=VERSION,
            origin="generated",
            seed=self._seed,
            users=self._size.users,
            orders=self._size.orders,
            lined_orders=lined,
        )

    @property
    def since(self) -> datetime:
        """From when on a user counts as new in the ladder's question."""
        return SINCE

    def catalogue(self) -> Catalogue:
        """All categories and products, there from the first day."""
        count = self._size.products
        draw = words(self._seed, "catalogue", 0, count)
        numbers = np.arange(1, count + 1)
        return Catalogue(
            category_names=syllables.CATEGORIES,
            category=numbers % len(syllables.CATEGORIES) + 1,
            created=np.full(count, BEGIN),
            stock=(draw % 1_000).astype(np.int64),
            pence=self._baskets.pence,
            sku=texts(f"P{number:06d}" for number in range(1, count + 1)),
            name=texts(syllables.product_name(number) for number in range(count)),
        )

    def users(self, block: int) -> Users:
        """The users of one block, in the order in which they signed up."""
        index = indexes(block, self._size.users)
        draw = words(self._seed, "users", block, BLOCK)[: len(index)]
        status = uniform(self._seed, "user status", block, BLOCK)[: len(index)]
        created = self._plan.signups[index].astype(np.int64) + BEGIN
        first, draw = _pick(draw, len(self._names[0]))
        last, draw = _pick(draw, len(self._names[1]))
        domain, draw = _pick(draw, len(syllables.DOMAINS))
        email: Parts = (
            *(self._emails[0][first], b".", self._emails[1][last], b".", _base36(index + 1), b"@"),
            self._emails[2][domain],
        )
        return Users(
            id=index + 1,
            created=created,
            updated=np.minimum(created + draw.astype(np.int64) % (30 * DAY), END - 1),
            status=self._statuses[0][np.searchsorted(np.cumsum(USER_STATUS_SHARES)[:-1], status, side="right")],
            country=_COUNTRY_LETTERS[self._plan.countries[index]],
            name=(self._names[0][first], b" ", self._names[1][last]),
            email=email,
        )

    def orders(self, block: int) -> Orders:
        """The orders of one block, in the order in which they were placed."""
        index = indexes(block, self._size.orders)
        user, created = self._plan.placed(index)
        share = self._baskets.shares(block)[: len(index)]
        pence = self._baskets.values(share)
        lined = index >= self._first_lined
        if lined.any():
            lines = self.lines(block)
            totals = np.bincount(lines.order - index[0] - 1, lines.quantity * lines.pence, minlength=len(index))
            # Pence are whole and far below 2 ** 53: bincount's doubles are exact.
            pence = np.where(lined, totals.astype(np.int64), pence)
        status = self._status_of(block, created)
        days = (words(self._seed, "updates", block, BLOCK)[: len(index)] & np.uint64(3)).astype(np.int64)
        updated = np.where(status == _PENDING, created, np.minimum(created + (days + 1) * DAY, END - 1))
        return Orders(
            id=index + 1,
            user=user + 1,
            created=created,
            updated=updated,
            pence=pence,
            status=self._statuses[1][status],
            country=_COUNTRY_LETTERS[self._plan.countries[user]],
        )

    def lines(self, block: int) -> Lines:
        """The lines of one block's orders, as far as those are among the newest."""
        index = indexes(block, self._size.orders)
        lines = self._baskets.lines(block, len(index))
        # The block is drawn as a whole, so that an order's lines do not depend on how many orders have
        # theirs.
        written = lines.order >= max(self._first_lined - int(index[0]), 0)
        return Lines(
            order=lines.order[written] + index[0] + 1,
            line=lines.line[written],
            quantity=lines.quantity[written],
            product=lines.product[written],
            pence=lines.pence[written],
        )

    @property
    def _plan(self) -> Plan:
        if self._drawn is None:
            self._drawn = Plan(self._size, self._seed)
        return self._drawn

    @property
    def _first_lined(self) -> int:
        return max(self._size.orders - self._size.lined_orders, 0)

    def _status_of(self, block: int, created: Ints) -> NDArray[np.int64]:
        draw = uniform(self._seed, "order status", block, BLOCK)[: len(created)]
        # How long each step takes differs from order to order, by up to its own length.
        age = (END - created) / DAY * (0.5 + draw)
        steps = [age < DAYS_PENDING, age < DAYS_PAID, age < DAYS_SHIPPED]
        status = np.select(steps, [_PENDING, _PAID, _SHIPPED], _COMPLETED)
        status[draw < SHARE_CANCELLED] = _CANCELLED
        returned = (draw >= SHARE_CANCELLED) & (draw < SHARE_CANCELLED + SHARE_RETURNED)
        status[returned & (status == _COMPLETED)] = _RETURNED
        return status


_COUNTRY_LETTERS: Bytes = texts(figures.COUNTRIES).matrix


def _pick(draw: NDArray[np.uint64], among: int) -> tuple[Ints, NDArray[np.uint64]]:
    """A number below `among` out of each word, and what is left of the word."""
    return (draw % np.uint64(among)).astype(np.int64), draw // np.uint64(among)


def _base36(numbers: Ints) -> Texts:
    """Each number with the digits 0 to z and no leading zeros."""
    powers = 36 ** np.arange(_ID_DIGITS, dtype=np.int64)
    lengths = np.searchsorted(powers, numbers, side="right")
    lengths = np.maximum(lengths, 1)
    place = lengths[:, None] - 1 - np.arange(_ID_DIGITS)
    digits = numbers[:, None] // powers[np.maximum(place, 0)] % 36
    return Texts(_DIGITS[digits], lengths.astype(np.int64))
