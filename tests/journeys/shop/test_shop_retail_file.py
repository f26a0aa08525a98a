"""The real order file, where it is there: what is kept of it, and that the generated shop is like it.

TERCET_TEST_DATA names the folder with uci_online_retail.parquet; without it, shared/data beside the checkout.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from pyarrow import parquet
from sqlalchemy import text

from tercet import Tercet
from tercet_shop import AS_WRITTEN, figures, prepare_from_file
from tercet_shop.generate import GeneratedShop
from tercet_shop.plan import ShopSize
from tercet_shop.retail import RetailOrders, read_orders
from tercet_shop.tables import blocks

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("TERCET_TEST_DATA") or ROOT.parent / "shared" / "data")
FILE = DATA / "uci_online_retail.parquet"

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not FILE.exists(), reason="the order file is not here (TERCET_TEST_DATA)"),
]

LINES_IN_FILE = 541_909

Numbers = NDArray[np.int64]


@pytest_asyncio.fixture
async def db(postgres_url: str, mongo_url: str) -> AsyncIterator[Tercet]:
    """Two empty stores."""
    async with Tercet(postgres=postgres_url, mongo=mongo_url) as db:
        yield db


@pytest.fixture(scope="module")
def orders() -> RetailOrders:
    """The file's orders."""
    return read_orders(FILE)


def test_every_line_of_the_file_is_kept_or_counted_under_a_reason(orders: RetailOrders) -> None:
    """Nothing is lost without a word; known figures of the file come out."""
    cleaned = orders.cleaned
    assert cleaned.lines == LINES_IN_FILE
    assert cleaned.kept_lines + sum(cleaned.dropped.values()) == LINES_IN_FILE
    assert cleaned.dropped["exact duplicate"] == 5_268
    assert len(np.unique(orders.customer)) == cleaned.customers


def test_the_money_kept_is_the_files_money(orders: RetailOrders) -> None:
    """Summed again straight from the file, by the sentences of retail.py and in another way."""
    table = parquet.read_table(FILE)
    keep = pc.and_(pc.match_substring_regex(table["invoice_no"], "^[0-9]"), pc.is_valid(table["customer_id"]))
    keep = pc.and_(keep, pc.and_(pc.greater(table["quantity"], 0), pc.greater_equal(table["unit_price"], 0.01)))
    keep = pc.and_(keep, pc.match_substring_regex(table["stock_code"], "^[0-9]{5}"))
    sold = {tuple(row.values()) for row in table.filter(keep).to_pylist()}
    total = sum(row[3] * Decimal(repr(row[5])) for row in sold)
    assert Decimal(orders.cleaned.kept_pence).scaleb(-2) == total
    assert orders.cleaned.kept_lines == len(sold)
    assert orders.cleaned.kept_orders == len({row[0] for row in sold})


async def test_both_stores_hold_the_files_orders(db: Tercet, orders: RetailOrders) -> None:
    """Rows, lines and documents add up to the kept money, and the question has a hundred answers."""
    told = await prepare_from_file(db, FILE)
    total = Decimal(orders.cleaned.kept_pence).scaleb(-2)
    assert told.cleaned == orders.cleaned
    async with db.postgres.connection() as connection:

        async def one(statement: str) -> tuple[object, ...]:
            return tuple((await connection.execute(text(statement))).one())

        assert await one("select count(*), sum(total) from orders") == (orders.cleaned.kept_orders, total)
        lines = "select count(*), sum(quantity * price) from order_items"
        assert await one(lines) == (orders.cleaned.kept_lines, total)
        assert await one("select count(*) from users") == (orders.cleaned.customers,)
        answers = (await connection.execute(text(AS_WRITTEN), {"since": told.shop.since})).all()
    assert (len(answers), answers[0].total_spent > answers[99].total_spent > 0) == (100, True)
    summed = await db.mongo["orders"].aggregate(
        [{"$group": {"_id": None, "total": {"$sum": "$total"}, "lines": {"$sum": {"$size": "$items"}}}}]
    )
    held = (await summed.to_list())[0]
    assert (held["total"].to_decimal(), held["lines"]) == (total, orders.cleaned.kept_lines)
    again = await prepare_from_file(db, FILE)
    assert (again.shop.postgres, again.shop.mongo) == (None, None)


def test_the_committed_figures_are_those_that_the_file_gives(orders: RetailOrders) -> None:
    """Fitting again gives the same numbers, to the last digit that is written down."""
    fit = runpy.run_path(str(ROOT / "examples" / "shop" / "fit.py"))
    fitted: dict[str, object] = {}
    exec(fit["fitted"](orders), fitted)  # noqa: S102 - the text is our own script's
    names = [name for name in vars(figures) if name.isupper()]
    assert len(names) > 10
    assert {name: fitted[name] for name in names} == {name: getattr(figures, name) for name in names}


def _apart(one: Numbers, other: Numbers) -> float:
    """How far two distributions are apart at most (Kolmogorov and Smirnov)."""
    at = np.union1d(one, other)
    shares = [np.searchsorted(np.sort(values), at, side="right") / len(values) for values in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def _share(values: Numbers, count: int) -> NDArray[np.float64]:
    return np.bincount(values, minlength=count) / len(values)


def test_the_generated_shop_is_distributed_like_the_file(orders: RetailOrders) -> None:
    """Orders of a customer, values, lines, prices, quantities, hours and countries are near the file's."""
    users = 10_000
    # As many orders for each customer as in the file; 3 % of users are none.
    count = int(users * 0.97 * orders.cleaned.kept_orders / orders.cleaned.customers)
    shop = GeneratedShop(ShopSize(users, count, count), seed=11)
    drawn = [shop.orders(block) for block in blocks(count)]
    lines = [shop.lines(block) for block in blocks(count)]

    def of(parts: list[object], name: str) -> Numbers:
        return np.concatenate([getattr(part, name) for part in parts])

    bought = np.bincount(of([*drawn], "user"))
    apart = {
        "orders": _apart(bought[bought > 0], np.bincount(orders.order_user)),
        "value": _apart(of([*drawn], "pence"), orders.order_pence),
        "lines": _apart(np.bincount(of([*lines], "order"))[1:], np.bincount(orders.order)),
        "price": _apart(of([*lines], "pence"), orders.pence),
        "quantity": _apart(of([*lines], "quantity"), orders.quantity),
    }
    hours = [_share(moments // 3_600 % 24, 24) for moments in (of([*drawn], "created"), orders.order_created)]
    apart["hour"] = float(np.abs(hours[0] - hours[1]).sum() / 2)
    # Quantities of real baskets stick to dozens, which the generated ones do not.
    bounds = {"orders": 0.03, "value": 0.05, "lines": 0.03, "price": 0.08, "quantity": 0.15, "hour": 0.03}
    assert {name: far for name, far in apart.items() if far > bounds[name]} == {}
