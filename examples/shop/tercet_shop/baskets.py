"""What is in an order: its value by the fitted shares, and lines of products that add up to about that.

The value comes first and the lines are drawn to fit it, so orders with lines and orders without are of one
kind. An order with lines is worth what its lines add up to, to the penny.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tercet_shop import figures
from tercet_shop.dice import Floats, uniform
from tercet_shop.tables import BLOCK

if TYPE_CHECKING:
    from tercet_shop.assemble import Ints

# Between two noted shares a distribution is drawn straight in the logarithm; this many points make the
# straight lines between them as good as that.
_POINTS = 4_097
# Beyond six standard deviations lies one number in a billion.
_NORMAL_REACH = 6.0


@dataclass(frozen=True, slots=True)
class BlockLines:
    """Lines of a block's orders, which are counted from 0 in it."""

    order: Ints
    line: Ints
    quantity: Ints
    product: Ints
    pence: Ints


class Baskets:
    """The catalogue's prices and favourites, and what people put into their baskets."""

    __slots__ = ("_favour", "_lines", "_normal", "_points", "_reach", "_seed", "_values", "pence")

    def __init__(self, products: int, seed: int) -> None:
        self._seed = seed
        self._points = np.linspace(0.0, 1.0, _POINTS)
        # Steeply rising ends need their own points.
        self._points = np.union1d(self._points, np.array(figures.SHARES))
        self._values = _curve(self._points, figures.ORDER_PENCE)
        self._lines = _curve(self._points, figures.ORDER_LINES)
        self._reach = np.linspace(-_NORMAL_REACH, _NORMAL_REACH, _POINTS)
        self._normal = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in self._reach])
        prices = _curve(self._points, figures.PRICE_PENCE)
        order = np.argsort(uniform(seed, "prices", 0, products), kind="stable")
        # Every price range has its share exactly, in an order that says nothing about how well a product
        # sells.
        self.pence: Ints = np.rint(np.interp((order + 0.5) / products, self._points, prices)).astype(np.int64)
        rank = np.argsort(uniform(seed, "favourites", 0, products), kind="stable") / max(products - 1, 1)
        self._favour = np.cumsum(np.exp(np.interp(rank, figures.RANKS, np.log(figures.POPULARITY))))

    def shares(self, block: int) -> Floats:
        """For each order of a block, the share of all orders that are worth less."""
        return uniform(self._seed, "values", block, BLOCK)

    def values(self, shares: Floats) -> Ints:
        """What an order at each share is worth, in pence."""
        return np.rint(np.interp(shares, self._points, self._values)).astype(np.int64)

    def lines(self, block: int, orders: int) -> BlockLines:
        """The lines of a block's first `orders` orders; no product stands twice in one of them."""
        shares = self.shares(block)[:orders]
        counts = self._counts(block, shares)
        order = np.repeat(np.arange(orders), counts)
        draw = uniform(self._seed, "products", block, len(order))
        product = np.searchsorted(self._favour, draw * self._favour[-1], side="right")
        product = np.minimum(product, len(self.pence) - 1)
        key = np.unique(order * len(self.pence) + product)
        order, product = np.divmod(key, len(self.pence))
        counts = np.bincount(order, minlength=orders)
        first = np.concatenate(([0], np.cumsum(counts)[:-1]))
        spread = figures.LINE_SPREAD * self._scores(uniform(self._seed, "spread", block, len(order)))
        even = (self.values(shares) / np.maximum(counts, 1))[order]
        price = self.pence[product]
        quantity = np.rint(even * np.exp(spread - figures.LINE_SPREAD**2 / 2) / price)
        return BlockLines(
            order=order,
            line=np.arange(len(order)) - first[order] + 1,
            quantity=np.maximum(quantity, 1).astype(np.int64),
            product=product + 1,
            pence=price,
        )

    def _counts(self, block: int, shares: Floats) -> Ints:
        """How many lines each order has: more in a dear one, as closely as in the file."""
        own = self._scores(uniform(self._seed, "line counts", block, BLOCK)[: len(shares)])
        follow = figures.LINES_FOLLOW_VALUE
        score = follow * self._scores(shares) + math.sqrt(1 - follow**2) * own
        share = np.interp(score, self._reach, self._normal)
        counts: Ints = np.maximum(np.rint(np.interp(share, self._points, self._lines)), 1).astype(np.int64)
        return counts

    def _scores(self, shares: Floats) -> Floats:
        """The standard normal numbers at these shares."""
        return np.interp(shares, self._normal, self._reach)


def _curve(points: Floats, values: tuple[int, ...]) -> Floats:
    return np.exp(np.interp(points, figures.SHARES, np.log(values)))
