"""Order files: what is kept, what is dropped and why, and what is said of a file that is none."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from tercet_shop.errors import FileUnfit
from tercet_shop.retail import COUNTRIES, read_orders
from tercet_shop.retail_shop import RetailShop

COLUMNS = (
    *("invoice_no", "stock_code", "description", "quantity"),
    *("invoice_date", "unit_price", "customer_id", "country"),
)
MOMENT = datetime(2011, 3, 4, 10, 30)

GOOD = ("536365", "85123A", "WHITE HEART", 6, MOMENT, 2.55, 17850, "United Kingdom")


def _line(**other: object) -> tuple[Any, ...]:
    return tuple({**dict(zip(COLUMNS, GOOD, strict=True)), **other}.values())


def _table(*lines: tuple[Any, ...], names: tuple[str, ...] = COLUMNS) -> pa.Table:
    types = [pa.string()] * 3 + [pa.int32(), pa.timestamp("us"), pa.float64(), pa.int32(), pa.string()]
    columns = zip(*lines, strict=True) if lines else [()] * len(types)
    return pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names=list(names))


def _parquet(folder: Path, table: pa.Table) -> Path:
    path = folder / "orders.parquet"
    parquet.write_table(table, path)
    return path


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("exact duplicate", GOOD),
        ("cancelled invoice", _line(invoice_no="C536365", quantity=-6)),
        ("adjusted invoice", _line(invoice_no="A563185")),
        ("a value is missing", _line(quantity=None)),
        ("a value is missing", _line(invoice_date=None)),
        ("a value is missing", _line(stock_code="")),
        ("no customer", _line(customer_id=None)),
        ("quantity not above zero", _line(quantity=0)),
        ("price not above zero", _line(unit_price=0.0)),
        ("price not above zero", _line(unit_price=float("nan"))),
        ("price not whole pence", _line(unit_price=0.001)),
        ("not a product", _line(stock_code="POST")),
        ("not a product", _line(stock_code=" m ")),
        ("not a product", _line(stock_code="gift_0001_20")),
        ("amount too large", _line(quantity=2**31 - 1, unit_price=1_000_000.0)),
    ],
)
def test_a_line_that_sells_nothing_is_dropped_with_its_reason(
    tmp_path: Path, reason: str, line: tuple[Any, ...]
) -> None:
    """One good line stays, the other is counted under the first reason against it."""
    cleaned = read_orders(_parquet(tmp_path, _table(GOOD, line))).cleaned
    assert {why: count for why, count in cleaned.dropped.items() if count} == {reason: 1}
    assert (cleaned.lines, cleaned.kept_lines, cleaned.kept_orders) == (2, 1, 1)


def test_orders_users_and_lines_are_numbered_by_their_time(tmp_path: Path) -> None:
    """The earliest order is the first, its customer too; lines keep the file's order within theirs."""
    later = datetime(2011, 12, 1, 9)
    table = _table(
        _line(invoice_no="2", invoice_date=later, customer_id=5, country="France", unit_price=1.0),
        _line(invoice_no="1", quantity=2, unit_price=0.29, customer_id=9, country="Atlantis"),
        _line(invoice_no="1", stock_code="22", description=None, quantity=3, unit_price=19.99, customer_id=9),
        _line(
            invoice_no="2", stock_code="22", invoice_date=later, customer_id=5, quantity=1, unit_price=0.07
        ),
    )
    orders = read_orders(_parquet(tmp_path, table))
    assert orders.customer.tolist() == [9, 5]
    assert orders.order_user.tolist() == [0, 1]
    assert orders.order_pence.tolist() == [2 * 29 + 3 * 1999, 6 * 100 + 7]
    assert orders.order.tolist() == [0, 0, 1, 1]
    assert orders.pence.tolist() == [29, 1999, 100, 7]
    assert [orders.countries[code] for code in orders.user_country] == ["ZZ", "FR"]
    assert dict(zip(orders.skus, orders.product_pence.tolist(), strict=True)) == {"85123A": 100, "22": 7}
    lines = RetailShop(orders).lines(0)
    assert (lines.order.tolist(), lines.line.tolist()) == ([1, 1, 2, 2], [1, 2, 1, 2])
    users = RetailShop(orders).users(0)
    # The first has not ordered for more than 90 days before the file's end.
    assert users.status.strings() == ["inactive", "active"]


def test_a_csv_says_the_same_as_the_parquet_of_it(tmp_path: Path) -> None:
    """Names as in the original, customers as 17850.0, pound signs in Latin-1: the orders are the same."""
    table = _table(GOOD, _line(invoice_no="C7", description="2 £ off"), _line(stock_code="0022", quantity=1))
    expected = read_orders(_parquet(tmp_path, table))
    path = tmp_path / "orders.CSV"
    original = [
        "InvoiceNo",
        "StockCode",
        "Description",
        "Quantity",
        "InvoiceDate",
        "UnitPrice",
        "CustomerID",
        "Country",
    ]
    floating = table.set_column(6, "customer_id", table["customer_id"].cast(pa.float64()))
    csv.write_csv(floating.rename_columns(original), path)
    path.write_bytes(path.read_bytes().replace("£".encode(), "£".encode("latin-1")))
    read = read_orders(path)
    assert read.cleaned == expected.cleaned
    assert RetailShop(read).facts == RetailShop(expected).facts
    assert read.skus == ("85123A", "0022")


def test_dates_as_in_the_original_csv_are_understood(tmp_path: Path) -> None:
    """12/1/2010 is the first of December."""
    path = tmp_path / "orders.csv"
    path.write_text(f"{','.join(COLUMNS)}\n536365,85123A,HEART,6,12/1/2010 8:26,2.55,17850,United Kingdom\n")
    created = int(read_orders(path).order_created[0])
    assert np.datetime64(created, "s") == np.datetime64("2010-12-01T08:26")


def test_a_missing_column_is_named_with_what_was_found(tmp_path: Path) -> None:
    """The error says what is wanted and what the file has instead."""
    names = (*COLUMNS[:5], "cost", *COLUMNS[6:])
    with pytest.raises(FileUnfit, match=r"no column unit_price; found are invoice_no, .*cost"):
        read_orders(_parquet(tmp_path, _table(GOOD, names=names)))


def test_a_column_of_another_kind_is_named(tmp_path: Path) -> None:
    """Letters for a quantity cannot be read as numbers."""
    path = tmp_path / "orders.csv"
    path.write_text(f"{','.join(COLUMNS)}\n1,2,x,many,2011-01-01 00:00:00,2.55,17850,France\n")
    with pytest.raises(FileUnfit, match="column quantity is string and not int64"):
        read_orders(path)


def test_what_is_no_order_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Nothing there, a folder, nothing in it, noise, another format, no lines, no orders: each is told."""
    cases = {"absent.csv": "no such file", ".": "is a folder", "empty.csv": "is empty"}
    (tmp_path / "empty.csv").touch()
    for name in ("noise.parquet", "sheet.xlsx"):
        (tmp_path / name).write_bytes(b"\x00\xff not a table")
    cases |= {"noise.parquet": "damaged or not .parquet", "sheet.xlsx": "not .parquet or .csv"}
    for name, reason in cases.items():
        with pytest.raises(FileUnfit, match=reason):
            read_orders(tmp_path / name)
    with pytest.raises(FileUnfit, match="no lines"):
        read_orders(_parquet(tmp_path, _table()))
    with pytest.raises(FileUnfit, match=r"none of its 1 lines is an order's \(no customer: 1\)"):
        read_orders(_parquet(tmp_path, _table(_line(customer_id=None))))


def test_every_country_has_two_capital_letters() -> None:
    """What the shop's CHECK asks for."""
    assert all(len(code) == 2 and code.isascii() and code.isupper() for code in COUNTRIES.values())
