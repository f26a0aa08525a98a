"""A shop of any size out of a seed: the same seed and size give the same rows, block by block or all at once.

What it needs to hold at once is 8 bytes for an order and about 20 for a user; everything else is made by
the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from tercet_shop import figures
from tercet_shop import words as syllables
from tercet_shop.assemble import Bytes, Ints, Texts, texts
from tercet_shop.baskets import Baskets
from tercet_shop.calendar import BEGIN, DAY, END, ordering, signups
from tercet_shop.dice import Floats, uniform, words
from tercet_shop.errors import SizeImpossible
from tercet_shop.models import ORDER_STATUSES, USER_STATUSES
from tercet_shop.tables import BLOCK, Catalogue, Facts, Lines, Orders, Parts, Users, blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Raised whenever other rows or another schema come out of the same arguments.
VERSION = 1

# An average order has 21 lines: 5,000,000 orders would be 100,000,000 of them, hours of loading for a
# question that never reads one. The newest orders have theirs, a million lines in all: enough for every
# page that shows lines.
LINED_ORDERS = 50_000

# Users who never order, and the states users are in: chosen, the file shows neither.
SHARE_WITHOUT_ORDERS = 0.03
USER_STATUS_SHARES = (0.45, 0.35, 0.20)
# Fewer orders than this for each user who orders, and more users go without.
ORDERS_LEAST = 1.5

# Half of what was taken back never left the house. Older than this an order is over.
SHARE_CANCELLED = figures.TAKEN_BACK / 2
SHARE_RETURNED = figures.TAKEN_BACK / 2
DAYS_PENDING, DAYS_PAID, DAYS_SHIPPED = 1, 3, 14
_PENDING, _PAID, _SHIPPED, _COMPLETED, _CANCELLED, _RETURNED = range(len(ORDER_STATUSES))

# From when on a user counts as new in the ladder's question.
SINCE = datetime(2024, 1, 1, tzinfo=UTC)

# A user's number takes the low half of a sort key, the seconds since the shop began the high half.
_USER_BITS = 32
_USER_MASK = (1 << _USER_BITS) - 1
USERS_MAX = _USER_MASK
# A key is 8 bytes an order: what 8 GiB hold next to three servers.
ORDERS_MAX = 500_000_000

_DIGITS = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)
# 36 ** 7 is more than USERS_MAX.
_ID_DIGITS = 7


@dataclass(frozen=True, slots=True)
class ShopSize:
    """How large a shop is; `lined_orders` of the newest orders have their lines."""

    users: int
    orders: int
    lined_orders: int = LINED_ORDERS

    def __post_init__(self) -> None:
        if not 1 <= self.users <= USERS_MAX:
            raise self._impossible(f"users are 1 to {USERS_MAX:,}")
        if not 0 <= self.orders <= ORDERS_MAX:
            raise self._impossible(f"orders are 0 to {ORDERS_MAX:,}")
        if self.lined_orders < 0:
            raise self._impossible("the number of orders with lines is negative")

    def _impossible(self, reason: str) -> SizeImpossible:
        return SizeImpossible(users=self.users, orders=self.orders, reason=reason)

    @property
    def products(self) -> int:
        """As many products as the file's shop has, and fewer in a tiny one."""
        return min(4_000, max(100, self.users))


class GeneratedShop:
    """A shop drawn from the fitted figures; a Source for loading."""

    __slots__ = (
        "_baskets",
        "_countries",
        "_emails",
        "_keys",
        "_names",
        "_seed",
        "_signup",
        "_size",
        "_statuses",
    )

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
        self._signup = self._draw_signups()
        self._countries = self._draw_countries()
        self._keys = self._draw_orders()

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
        index = _indexes(block, self._size.users)
        draw = words(self._seed, "users", block, BLOCK)[: len(index)]
        status = uniform(self._seed, "user status", block, BLOCK)[: len(index)]
        created = self._signup[index].astype(np.int64) + BEGIN
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
            status=self._statuses[0][
                np.searchsorted(np.cumsum(USER_STATUS_SHARES)[:-1], status, side="right")
            ],
            country=_COUNTRY_LETTERS[self._countries[index]],
            name=(self._names[0][first], b" ", self._names[1][last]),
            email=email,
        )

    def orders(self, block: int) -> Orders:
        """The orders of one block, in the order in which they were placed."""
        index = _indexes(block, self._size.orders)
        user, created = self._placed(index)
        share = self._baskets.shares(block)[: len(index)]
        pence = self._baskets.values(share)
        lined = index >= self._first_lined
        if lined.any():
            lines = self.lines(block)
            totals = np.bincount(
                lines.order - index[0] - 1, lines.quantity * lines.pence, minlength=len(index)
            )
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
            country=_COUNTRY_LETTERS[self._countries[user]],
        )

    def lines(self, block: int) -> Lines:
        """The lines of one block's orders, as far as those are among the newest."""
        index = _indexes(block, self._size.orders)
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
    def _first_lined(self) -> int:
        return max(self._size.orders - self._size.lined_orders, 0)

    def _placed(self, index: Ints) -> tuple[Ints, Ints]:
        keys = self._keys[int(index[0]) : int(index[-1]) + 1] if len(index) else self._keys[:0]
        user = (keys & np.uint64(_USER_MASK)).astype(np.int64)
        return user, (keys >> np.uint64(_USER_BITS)).astype(np.int64) + BEGIN

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

    def _draw_signups(self) -> NDArray[np.int32]:
        """The second of each user's signup since the shop began, rising with the user's number."""
        calendar = signups()
        drawn = np.empty(self._size.users, dtype=np.int32)
        for block in blocks(self._size.users):
            index = _indexes(block, self._size.users)
            jitter = uniform(self._seed, "signups", block, BLOCK)[: len(index)]
            drawn[index] = calendar.moments((index + jitter) / self._size.users) - BEGIN
        return drawn

    def _draw_countries(self) -> NDArray[np.uint8]:
        weights = np.cumsum(figures.COUNTRY_WEIGHTS)
        drawn = np.empty(self._size.users, dtype=np.uint8)
        for block in blocks(self._size.users):
            share = uniform(self._seed, "countries", block, BLOCK)
            index = _indexes(block, self._size.users)
            drawn[index] = np.searchsorted(weights, share[: len(index)] * weights[-1], side="right")
        return drawn

    def _draw_orders(self) -> NDArray[np.uint64]:
        """Every order's moment and user in one number each, sorted by the moment."""
        counts = self._draw_counts()
        ends = np.cumsum(counts)
        calendar = ordering()
        keys = np.empty(self._size.orders, dtype=np.uint64)
        for block in blocks(self._size.users):
            index = _indexes(block, self._size.users)
            user = np.repeat(index, counts[index])
            begun = calendar.shares(self._signup[index].astype(np.int64) + BEGIN)
            draw = uniform(self._seed, "moments", block, len(user))
            start = np.repeat(begun, counts[index])
            moment = np.maximum(calendar.moments(start + draw * (1 - start)) - BEGIN, self._signup[user])
            last = int(ends[index[-1]])
            keys[last - len(user) : last] = (moment.astype(np.uint64) << np.uint64(_USER_BITS)) | user.astype(
                np.uint64
            )
        keys.sort()
        return keys

    def _draw_counts(self) -> Ints:
        """How many orders each user has: the fitted shape, stretched until all are as many as wanted."""
        users, orders = self._size.users, self._size.orders
        without = max(SHARE_WITHOUT_ORDERS, 1 - orders / ORDERS_LEAST / users)
        orders_at_all = (
            np.concatenate([uniform(self._seed, "buyers", b, BLOCK) for b in blocks(users)])[:users]
            >= without
        )
        if orders and not orders_at_all.any():
            orders_at_all[0] = True
        buyers = np.flatnonzero(orders_at_all)
        draws = np.concatenate([uniform(self._seed, "repeats", b, BLOCK) for b in blocks(users)])[buyers]
        counts = np.zeros(users, dtype=np.int64)
        counts[buyers] = _stretched((1 - draws) ** (-1 / figures.REPEAT_SHAPE) - 1, orders)
        return counts


_COUNTRY_LETTERS: Bytes = texts(figures.COUNTRIES).matrix


def _indexes(block: int, count: int) -> Ints:
    return np.arange(block * BLOCK, min((block + 1) * BLOCK, count), dtype=np.int64)


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


def _stretched(more: Floats, orders: int) -> Ints:
    """1 and the whole part of `more` times a factor: the one that makes the sum `orders`.

    With fewer orders than buyers, the last buyers get none.
    """
    buyers = len(more)
    if orders <= buyers:
        return (np.arange(buyers) < orders).astype(np.int64)
    low, high = 0.0, 1.0
    while buyers + int(np.floor(more * high).sum()) < orders:
        high *= 2
    # A double has 53 bits: after as many halvings nothing lies between.
    for _ in range(60):
        middle = (low + high) / 2
        if buyers + int(np.floor(more * middle).sum()) <= orders:
            low = middle
        else:
            high = middle
    counts = 1 + np.floor(more * low).astype(np.int64)
    # Whoever would be next to get one more, gets it.
    rest = orders - int(counts.sum())
    nearest = np.argsort(np.floor(more * low) + 1 - more * low, kind="stable")[:rest]
    counts[nearest] += 1
    return counts
