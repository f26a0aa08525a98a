"""Prints the shop's figures, fitted to the Online Retail file.

    python examples/shop/fit.py FILE.parquet > examples/shop/tercet_shop/figures.py

Source: Online Retail, UCI Machine Learning Repository no. 352, by Daqing Chen, doi 10.24432/C5BW33, licence
CC BY 4.0: every invoice of a London gift shop between 1 December 2010 and 9 December 2011. Only what is
fitted is kept: a few hundred numbers that describe the whole; no line of the file is. What counts as an
order is decided in tercet_shop/retail.py, for this script as for the demo.
"""

from __future__ import annotations

import math
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tercet_shop.retail import RetailOrders, read_orders

if TYPE_CHECKING:
    from collections.abc import Sequence

Ints = NDArray[np.int64]

# Where a distribution is noted: close together in both tails, where shares are small and values large.
SHARES = (
    *(0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(
        0.55,
        0.6,
        0.65,
        0.7,
        0.75,
        0.8,
        0.85,
        0.9,
        0.925,
        0.95,
        0.97,
        0.98,
        0.99,
        0.995,
        0.998,
        0.999,
        0.9995,
        1.0,
    ),
)
RANKS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
DAY = 86_400
WIDTH = 105
# 1970-01-01 was a Thursday.
THURSDAY = 3


HEAD = '''
"""Numbers fitted to the Online Retail file by examples/shop/fit.py; made by it, not by hand.

Source: Online Retail, UCI Machine Learning Repository no. 352, by Daqing Chen, licence CC BY 4.0.
"""
'''


def fitted(orders: RetailOrders) -> str:
    """The module of figures that these orders give."""
    lines, value = _per_order(orders)
    shape, scale = _lomax(np.bincount(orders.order_user))
    taken_back = orders.cleaned.cancelled_pence / orders.cleaned.kept_pence
    amounts = (("ORDER_PENCE", value), ("ORDER_LINES", lines), ("PRICE_PENCE", orders.pence))
    knots = [_tuple(name, np.quantile(of, SHARES, method="inverted_cdf").tolist()) for name, of in amounts]
    return "\n".join(
        (
            HEAD.strip(),
            "\n# Orders of a customer after the first: P(at least k more) = (1 + k / scale) ** -shape.",
            f"REPEAT_SHAPE = {shape:.2f}\nREPEAT_SCALE = {scale:.2f}",
            "\n# Every distribution is noted at these shares.",
            _tuple("SHARES", SHARES),
            "\n# An order's value in pence, its number of lines, and the price of a piece in pence.",
            *knots,
            "\n# How the number of lines follows the order's value (correlation of their normal scores).",
            f"LINES_FOLLOW_VALUE = {_normal_correlation(lines, value):.3f}",
            "\n# How much the values of one order's lines differ: standard deviation of their logarithm.",
            f"LINE_SPREAD = {_spread(orders, lines, value):.3f}",
            *_popularity(orders),
            *_calendar(orders),
            "\n# The share of the money that was taken back by cancellations.",
            f"TAKEN_BACK = {taken_back:.4f}",
            *_countries(orders),
            "",
        )
    )


def _per_order(orders: RetailOrders) -> tuple[Ints, Ints]:
    lines = np.bincount(orders.order)
    value = np.zeros(len(lines), dtype=np.int64)
    np.add.at(value, orders.order, orders.quantity * orders.pence)
    return lines, value


def _lomax(counts: Ints) -> tuple[float, float]:
    more = counts[counts > 0] - 1

    def surprise(shape: float, scale: float) -> float:
        likely = (1 + more / scale) ** -shape - (1 + (more + 1) / scale) ** -shape
        return float(-np.log(likely).sum())

    grid = [(a / 20, s / 20) for a in range(22, 80) for s in range(20, 200)]
    return min(grid, key=lambda at: surprise(*at))


def _normal_correlation(one: Ints, two: Ints) -> float:
    def scores(values: Ints) -> NDArray[np.float64]:
        # Ties share the middle of their ranks.
        _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
        middle = (np.cumsum(counts) - counts / 2) / len(values)
        grid = np.linspace(-6, 6, 4_001)
        normal = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in grid])
        return np.interp(middle, normal, grid)[which]

    return float(np.corrcoef(scores(one), scores(two))[0, 1])


def _spread(orders: RetailOrders, lines: Ints, value: Ints) -> float:
    each = np.log(orders.quantity * orders.pence) - np.log(value / lines)[orders.order]
    return float(each.std())


def _popularity(orders: RetailOrders) -> tuple[str, ...]:
    sold = np.sort(np.bincount(orders.product))[::-1]
    at = np.array(RANKS) * (len(sold) - 1)
    popularity = np.interp(at, np.arange(len(sold)), sold / sold[0])
    return (
        "\n# How often the product at this share of the ranking is sold, the first being 1.",
        _tuple("RANKS", RANKS),
        _tuple("POPULARITY", popularity.round(5).tolist()),
    )


def _calendar(orders: RetailOrders) -> tuple[str, ...]:
    moment = orders.order_created
    day = moment // DAY
    days = np.arange(day.min(), day.max() + 1)

    def weekday(of: Ints) -> Ints:
        return np.bincount((of + THURSDAY) % 7, minlength=7)

    def month(of: Ints) -> Ints:
        return np.bincount(of.astype("M8[D]").astype("M8[M]").astype(np.int64) % 12, minlength=12)

    hours = np.bincount(moment // 3_600 % 24, minlength=24)
    return (
        "\n# Orders by hour (UTC), weekday (Monday first) and month (by its days), around a mean of 1.",
        _weights("HOURS", hours, np.ones_like(hours)),
        _weights("WEEKDAYS", weekday(day), weekday(days)),
        _weights("MONTHS", month(day), month(days)),
    )


def _weights(name: str, counts: Ints, over: Ints) -> str:
    rate = counts / over
    return _tuple(name, (rate / rate.mean()).round(4).tolist())


def _countries(orders: RetailOrders) -> tuple[str, ...]:
    codes, counts = np.unique([orders.countries[code] for code in orders.user_country], return_counts=True)
    ranked = sorted(zip(counts.tolist(), codes.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    return (
        "\n# Customers by country (ISO 3166-1; ZZ is not known).",
        _tuple("COUNTRIES", [code for _, code in ranked]),
        _tuple("COUNTRY_WEIGHTS", [count for count, _ in ranked]),
    )


def _tuple(name: str, values: Sequence[object]) -> str:
    written = ", ".join(f'"{value}"' if isinstance(value, str) else repr(value) for value in values)
    inside = textwrap.fill(f"{written},", WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"{name} = (\n{inside}\n)  # fmt: skip"


if __name__ == "__main__":
    sys.stdout.write(fitted(read_orders(Path(sys.argv[1]))))
