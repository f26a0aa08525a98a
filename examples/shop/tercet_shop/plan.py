"""Who signs up when, from where, and who orders when: all that must be known before the first row is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tercet_shop import figures
from tercet_shop.calendar import BEGIN, ordering, signups
from tercet_shop.dice import Floats, uniform
from tercet_shop.errors import SizeImpossible
from tercet_shop.tables import BLOCK, blocks, indexes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tercet_shop.assemble import Ints

# An average order has 21 lines: 5,000,000 orders would be 100,000,000 of them, hours of loading for a
# question that never reads one. The newest orders have theirs, a million lines in all: enough for every
# page that shows lines.
LINED_ORDERS = 50_000

# Users who never order: chosen, the file shows only those who do.
SHARE_WITHOUT_ORDERS = 0.03
# Fewer orders than this for each user who orders, and more users go without.
ORDERS_LEAST = 1.5

# A user's number takes the low half of a sort key, the seconds since the shop began the high half.
_USER_BITS = 32
_USER_MASK = (1 << _USER_BITS) - 1
USERS_MAX = _USER_MASK
# A key is 8 bytes an order: what 8 GiB hold next to three servers.
ORDERS_MAX = 500_000_000


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


class Plan:
    """A drawn shop's outline: 8 bytes for an order and 5 for a user."""

    __slots__ = ("_keys", "countries", "signups")

    def __init__(self, size: ShopSize, seed: int) -> None:
        # Seconds since the shop began, rising with the user's number; and the country's place in the figures.
        self.signups = _draw_signups(size, seed)
        self.countries = _draw_countries(size, seed)
        self._keys = _draw_orders(size, seed, self.signups)

    def placed(self, index: Ints) -> tuple[Ints, Ints]:
        """Who placed these orders, counted from 0, and when."""
        keys = self._keys[index]
        user = (keys & np.uint64(_USER_MASK)).astype(np.int64)
        return user, (keys >> np.uint64(_USER_BITS)).astype(np.int64) + BEGIN


def _draw_signups(size: ShopSize, seed: int) -> NDArray[np.int32]:
    """The second of each user's signup since the shop began, rising with the user's number."""
    calendar = signups()
    drawn = np.empty(size.users, dtype=np.int32)
    for block in blocks(size.users):
        index = indexes(block, size.users)
        jitter = uniform(seed, "signups", block, BLOCK)[: len(index)]
        drawn[index] = calendar.moments((index + jitter) / size.users) - BEGIN
    return drawn


def _draw_countries(size: ShopSize, seed: int) -> NDArray[np.uint8]:
    weights = np.cumsum(figures.COUNTRY_WEIGHTS)
    drawn = np.empty(size.users, dtype=np.uint8)
    for block in blocks(size.users):
        share = uniform(seed, "countries", block, BLOCK)
        index = indexes(block, size.users)
        drawn[index] = np.searchsorted(weights, share[: len(index)] * weights[-1], side="right")
    return drawn


def _draw_orders(size: ShopSize, seed: int, signup: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Every order's moment and user in one number each, sorted by the moment."""
    counts = _draw_counts(size, seed)
    ends = np.cumsum(counts)
    calendar = ordering()
    keys = np.empty(size.orders, dtype=np.uint64)
    for block in blocks(size.users):
        index = indexes(block, size.users)
        user = np.repeat(index, counts[index])
        begun = calendar.shares(signup[index].astype(np.int64) + BEGIN)
        draw = uniform(seed, "moments", block, len(user))
        start = np.repeat(begun, counts[index])
        moment = np.maximum(calendar.moments(start + draw * (1 - start)) - BEGIN, signup[user])
        last = int(ends[index[-1]])
        keys[last - len(user) : last] = (moment.astype(np.uint64) << np.uint64(_USER_BITS)) | user.astype(np.uint64)
    keys.sort()
    return keys


def _draw_counts(size: ShopSize, seed: int) -> Ints:
    """How many orders each user has: the fitted shape, stretched until all are as many as wanted."""
    users, orders = size.users, size.orders
    without = max(SHARE_WITHOUT_ORDERS, 1 - orders / ORDERS_LEAST / users)
    orders_at_all = np.concatenate([uniform(seed, "buyers", b, BLOCK) for b in blocks(users)])[:users] >= without
    if orders and not orders_at_all.any():
        orders_at_all[0] = True
    buyers = np.flatnonzero(orders_at_all)
    draws = np.concatenate([uniform(seed, "repeats", b, BLOCK) for b in blocks(users)])[buyers]
    counts = np.zeros(users, dtype=np.int64)
    counts[buyers] = _stretched((1 - draws) ** (-1 / figures.REPEAT_SHAPE) - 1, orders)
    return counts


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
