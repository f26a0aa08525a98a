"""Prints the shop's figures, fitted to the Online Retail file: python examples/shop/fit.py FILE.parquet > figures.py

Source: Online Retail, UCI Machine Learning Repository no. 352, by Daqing Chen, doi 10.24432/C5BW33, licence CC BY 4.0.
Every invoice of a London gift shop between 1 December 2010 and 9 December 2011. Only what is fitted is kept: a few
hundred numbers that describe the whole; no line of the file is.
What counts as an order is decided in tercet_shop/retail.py, for this script as for the demo.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tercet_shop.retail import RetailOrders, read_orders

Ints = NDArray[np.int64]

# Where a distribution is noted: close together in both tails, where shares are small and values large.
KNOTS = (
    *(0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 1.0),
)
RANKS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
DAY = 86_400
# 1970-01-01 was a Thursday.
THURSDAY = 3


def main(path: str) -> None:
    """Read the file and print the figures as a module."""
    orders = read_orders(Path(path))
    lines, value = _per_order(orders)
    print('"""Numbers fitted to the Online Retail file by examples/shop/fit.py; made by it, not by hand.\n')
    print("Source: Online Retail, UCI Machine Learning Repository no. 352, by Daqing Chen, licence CC BY 4.0.\n" '"""\n')
    print("# Orders of a customer after the first: P(at least k more) = (1 + k / scale) ** -shape.")
    shape, scale = _lomax(np.bincount(orders.order_user))
    print(f"REPEAT_SHAPE = {shape:.2f}\nREPEAT_SCALE = {scale:.2f}")
    print("\n# Every distribution is noted at these shares.")
    _tuple("SHARES", KNOTS)
    print("\n# An order's value in pence, its number of lines, and the price of a piece in pence, line by line.")
    for name, values in (("ORDER_PENCE", value), ("ORDER_LINES", lines), ("PRICE_PENCE", orders.pence)):
        _tuple(name, np.quantile(values, KNOTS, method="inverted_cdf").tolist())
    print("\n# How closely the number of lines follows the order's value (correlation of their normal scores).")
    print(f"LINES_FOLLOW_VALUE = {_normal_correlation(lines, value):.3f}")
    print("\n# How much the values of one order's lines differ: standard deviation of their logarithm around its mean.")
    print(f"LINE_SPREAD = {_spread(orders, lines, value):.3f}")
    _popularity(orders)
    _calendar(orders)
    print("\n# The share of the money that was taken back by cancellations.")
    print(f"TAKEN_BACK = {orders.cleaned.cancelled_pence / orders.cleaned.kept_pence:.4f}")
    _countries(orders)


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


def _popularity(orders: RetailOrders) -> None:
    sold = np.sort(np.bincount(orders.product))[::-1]
    print("\n# How often the product at this share of the ranking is sold, the first being 1.")
    _tuple("RANKS", RANKS)
    at = np.array(RANKS) * (len(sold) - 1)
    _tuple("POPULARITY", [round(float(x), 5) for x in np.interp(at, np.arange(len(sold)), sold / sold[0])])


def _calendar(orders: RetailOrders) -> None:
    moment = orders.order_created
    day = moment // DAY
    days = np.arange(day.min(), day.max() + 1)
    print("\n# Orders by hour (UTC), weekday (Monday first) and month (per day); each with the mean 1.")
    _weights("HOURS", np.bincount(moment // 3_600 % 24, minlength=24), np.ones(24))
    weekday = np.bincount((day + THURSDAY) % 7, minlength=7)
    _weights("WEEKDAYS", weekday, np.bincount((days + THURSDAY) % 7, minlength=7))

    def month(of: Ints) -> Ints:
        return of.astype("M8[D]").astype("M8[M]").astype(np.int64) % 12

    _weights("MONTHS", np.bincount(month(day), minlength=12), np.bincount(month(days), minlength=12))


def _weights(name: str, counts: NDArray[np.generic], over: NDArray[np.generic]) -> None:
    rate = counts / over
    _tuple(name, [round(float(x), 4) for x in rate / rate.mean()])


def _countries(orders: RetailOrders) -> None:
    codes, counts = np.unique([orders.countries[code] for code in orders.user_country], return_counts=True)
    ranked = sorted(zip(counts.tolist(), codes.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    print("\n# Customers by country (ISO 3166-1; ZZ is not known).")
    _tuple("COUNTRIES", [code for _, code in ranked])
    _tuple("COUNTRY_WEIGHTS", [count for count, _ in ranked])


def _tuple(name: str, values: object) -> None:
    print(f"{name} = {tuple(values)!r}")  # type: ignore[call-overload]


if __name__ == "__main__":
    main(sys.argv[1])
