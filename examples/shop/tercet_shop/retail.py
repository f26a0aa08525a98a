"""Reads an order file of the Online Retail shape, and says of every line that it leaves out why.

**What counts as an order.** An invoice of a known customer is an order, and each of its lines that sells a
product is a line of it. A line is dropped for the first of these reasons that holds:

1. it repeats another line in every column (the export's fault: a second piece would have raised the
   quantity);
2. its invoice is a cancellation ('C…'): the order was placed, and stays counted as it was placed;
3. its invoice is an adjustment (any other letter, such as 'A…' for bad debt);
4. a number, date or code is missing;
5. it names no customer: nobody can have spent it;
6. its quantity is not above zero (breakages, recounts);
7. its price is not above zero (gifts, write-offs), or is not whole pence;
8. its code is not a product's: postage, carriage, manual entries, discounts, samples, bank charges, fees,
   vouchers;
9. its amount does not fit into numeric(12, 2).

An invoice that keeps no line is no order. Times have no zone in the file and are taken as UTC. A customer
signs up with the first order, lives where that was sent to, and is *active* with an order in the file's
last 90 days, else *inactive*; nobody is *pending*, because who never ordered is not in an order file. Names
and addresses are made up from the customer's number. The file knows no categories: there is one. New
customers, in the ladder's question, are those of the last third of the file's time, as 2024 and 2025 are of
2020 to 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tercet_shop.errors import FileUnfit
from tercet_shop.retail_file import read_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tercet_shop.assemble import Ints

# Codes that are no products in the file of 2010 and 2011; vouchers begin with gift_.
NOT_PRODUCTS = ("POST", "DOT", "M", "D", "S", "B", "C2", "BANK CHARGES", "AMAZONFEE", "CRUK")
VOUCHER = "GIFT_"

# An amount in pence that numeric(12, 2) holds; the shop's columns are that.
PENCE_MAX = 10**12 - 1
# PostgreSQL's integer.
QUANTITY_MAX = 2**31 - 1
# What a price may be off a whole penny: the file holds doubles.
PENNY_BLUR = 1e-6

ACTIVE_DAYS = 90
DAY = 86_400

# Countries as the file spells them; two-letter codes pass as they are, anything else is ZZ (not known).
COUNTRIES = {
    "australia": "AU", "austria": "AT", "bahrain": "BH", "belgium": "BE", "brazil": "BR", "canada": "CA",
    "channel islands": "GG", "cyprus": "CY", "czech republic": "CZ", "denmark": "DK", "eire": "IE",
    "european community": "EU", "finland": "FI", "france": "FR", "germany": "DE", "greece": "GR",
    "hong kong": "HK", "iceland": "IS", "ireland": "IE", "israel": "IL", "italy": "IT", "japan": "JP",
    "korea": "KR", "lebanon": "LB", "lithuania": "LT", "malta": "MT", "netherlands": "NL",
    "nigeria": "NG", "norway": "NO", "poland": "PL", "portugal": "PT", "rsa": "ZA", "saudi arabia": "SA",
    "singapore": "SG", "spain": "ES", "sweden": "SE", "switzerland": "CH", "thailand": "TH",
    "unspecified": "ZZ", "united arab emirates": "AE", "united kingdom": "GB", "united states": "US",
    "usa": "US", "west indies": "ZZ", "bermuda": "BM",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was kept of a file, and how many lines were dropped for each reason."""

    lines: int
    kept_lines: int
    kept_orders: int
    customers: int
    products: int
    kept_pence: int
    cancelled_pence: int
    dropped: dict[str, int]


@dataclass(frozen=True, slots=True)
class RetailOrders:
    """The orders of a file, as columns; orders, users and products are counted from 0.

    Users are numbered by their first order, orders by their moment, lines by their order and place in the
    file.
    """

    cleaned: Cleaned
    countries: tuple[str, ...]
    customer: Ints
    user_created: Ints
    user_last: Ints
    user_country: Ints
    order_user: Ints
    order_created: Ints
    order_country: Ints
    order_pence: Ints
    order: Ints
    product: Ints
    quantity: Ints
    pence: Ints
    skus: tuple[str, ...]
    names: tuple[str, ...]
    product_pence: Ints
    product_created: Ints

    @property
    def since(self) -> datetime:
        """Midnight of the day at which the last third of the file's time begins."""
        first, last = int(self.order_created[0]), int(self.order_created[-1])
        at = first + (last - first) * 2 // 3
        return datetime.fromtimestamp(at - at % DAY, UTC)


def read_orders(path: Path) -> RetailOrders:
    """The orders in a Parquet or CSV file; raises FileUnfit with what is wrong with it and what is wanted."""
    table = read_table(path)
    lines = table.num_rows
    # Grouping keeps each distinct line once, with the place at which it stood first.
    placed = table.append_column("place", pa.array(np.arange(lines)))
    table = placed.group_by(table.column_names).aggregate([("place", "min")]).sort_by("place_min")
    reasons, which = _why_dropped(table)
    kept = table.filter(pa.array(which < 0))
    dropped = {"exact duplicate": lines - table.num_rows}
    dropped |= {reason: int((which == number).sum()) for number, reason in enumerate(reasons)}
    return _columns(path, kept, lines, dropped, _cancelled(table))


def _why_dropped(table: pa.Table) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """For each line the number of the first reason against it, or -1."""
    invoice, code = table["invoice_no"], pc.utf8_upper(pc.utf8_trim_whitespace(table["stock_code"]))
    quantity, price = table["quantity"], table["unit_price"]
    pence = pc.round(pc.multiply(price, 100.0))
    numbers = ("invoice_no", "stock_code", "quantity", "unit_price", "invoice_date")
    missing = [
        pc.or_kleene(pc.is_null(table[name]), pc.equal(pc.cast(table[name], pa.string()), ""))
        for name in numbers
    ]
    no_number = missing[0]
    for one in missing[1:]:
        no_number = pc.or_(pc.fill_null(no_number, True), pc.fill_null(one, True))
    service = pc.or_(pc.is_in(code, pa.array(NOT_PRODUCTS)), pc.starts_with(code, VOUCHER))
    amount = pc.multiply(pence, pc.cast(quantity, pa.float64()))
    too_much = pc.or_(pc.greater(amount, float(PENCE_MAX)), pc.greater(quantity, QUANTITY_MAX))
    tests = {
        "cancelled invoice": pc.starts_with(invoice, "C", ignore_case=True),
        "adjusted invoice": pc.match_substring_regex(invoice, r"^[A-Za-z]"),
        "a value is missing": no_number,
        "no customer": pc.is_null(table["customer_id"]),
        "quantity not above zero": pc.less_equal(quantity, 0),
        "price not above zero": pc.invert(pc.greater(price, 0.0)),
        "price not whole pence": pc.greater(
            pc.abs(pc.subtract(pc.multiply(price, 100.0), pence)), PENNY_BLUR
        ),
        "not a product": service,
        "amount too large": too_much,
    }
    which = np.full(table.num_rows, -1, dtype=np.int64)
    for number, test in enumerate(tests.values()):
        holds = pc.fill_null(test, False).to_numpy()
        which[(which < 0) & holds] = number
    return tuple(tests), which


def _cancelled(table: pa.Table) -> int:
    """How much money, in pence, was taken back from known customers."""
    back = table.filter(pc.and_(pc.is_valid(table["customer_id"]), pc.starts_with(table["invoice_no"], "C")))
    amounts = pc.multiply(back["unit_price"], pc.cast(back["quantity"], pa.float64()))
    return -round(100 * (pc.sum(amounts).as_py() or 0))


def _columns(path: Path, kept: pa.Table, lines: int, dropped: dict[str, int], cancelled: int) -> RetailOrders:
    """Number users, products and orders, and put the lines behind their orders."""
    if not kept.num_rows:
        told = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items() if count)
        raise FileUnfit(str(path), reason=f"none of its {lines:,} lines is an order's ({told})")
    moment, quantity, pence = _numbers(kept)
    customer, user = _people(kept["customer_id"].to_numpy(), moment)
    # An invoice that names two customers is two orders.
    _, order = np.unique(_numbered(kept["invoice_no"])[0] * len(customer) + user, return_inverse=True)
    order = _places(_least(order, moment))[order]
    created, first_line = _least(order, moment), _first(order)
    order_user = user[first_line]
    order_pence = np.zeros(len(created), dtype=np.int64)
    np.add.at(order_pence, order, quantity * pence)
    if order_pence.max() > PENCE_MAX:
        raise FileUnfit(str(path), reason="an invoice's total does not fit into numeric(12, 2)")
    country, countries = _numbered(kept["country"])
    product, skus = _numbered(pc.utf8_trim_whitespace(kept["stock_code"]))
    by_order, last_sold = np.argsort(order, kind="stable"), _last(product, moment)
    return RetailOrders(
        cleaned=Cleaned(
            lines=lines,
            kept_lines=kept.num_rows,
            kept_orders=len(created),
            customers=len(customer),
            products=len(skus),
            kept_pence=int(order_pence.sum()),
            cancelled_pence=cancelled,
            dropped=dropped,
        ),
        countries=tuple(_iso(name) for name in countries),
        customer=customer,
        user_created=_least(order_user, created),
        user_last=-_least(order_user, -created),
        user_country=country[first_line][_first(order_user)],
        order_user=order_user,
        order_created=created,
        order_country=country[first_line],
        order_pence=order_pence,
        order=order[by_order],
        product=product[by_order],
        quantity=quantity[by_order],
        pence=pence[by_order],
        skus=skus,
        names=_named(kept["description"].take(pa.array(last_sold)).to_pylist(), skus),
        product_pence=pence[last_sold],
        product_created=_least(product, moment),
    )


def _numbers(kept: pa.Table) -> tuple[Ints, Ints, Ints]:
    """Each line's second, quantity and price in pence."""
    moment = kept["invoice_date"].cast(pa.timestamp("s"), safe=False).cast(pa.int64()).to_numpy()
    pence = np.rint(kept["unit_price"].to_numpy() * 100).astype(np.int64)
    return moment, kept["quantity"].to_numpy().astype(np.int64), pence


def _people(customer: Ints, moment: Ints) -> tuple[Ints, Ints]:
    """The customers in the order of their first lines, and for each line which of them it is."""
    numbers, which = np.unique(customer, return_inverse=True)
    places = _places(_least(which, moment))
    sorted_numbers = np.empty_like(numbers)
    sorted_numbers[places] = numbers
    return sorted_numbers, places[which]


def _numbered(column: pa.ChunkedArray) -> tuple[Ints, tuple[str, ...]]:
    """The values as numbers from 0 by their first appearance, and what each number stands for."""
    coded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
    return coded.indices.to_numpy().astype(np.int64), tuple(coded.dictionary.to_pylist())


def _least(group: Ints, values: Ints) -> Ints:
    """The least value of each group."""
    least = np.full(int(group.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, group, values)
    return least


def _first(group: Ints) -> Ints:
    """The place at which each group appears first."""
    return np.unique(group, return_index=True)[1].astype(np.int64)


def _last(group: Ints, moment: Ints) -> Ints:
    """The place of each group's latest; of several at once, of the last."""
    by_time = np.argsort(moment, kind="stable")
    last = np.zeros(int(group.max()) + 1, dtype=np.int64)
    last[group[by_time]] = by_time
    return last


def _places(moments: Ints) -> Ints:
    """Where each stands when all are sorted by their moment; equal ones keep their order."""
    places = np.empty(len(moments), dtype=np.int64)
    places[np.argsort(moments, kind="stable")] = np.arange(len(moments))
    return places


def _iso(name: str) -> str:
    plain = name.strip()
    if len(plain) == len("GB") and plain.isascii() and plain.isalpha():
        return plain.upper()
    return COUNTRIES.get(plain.lower(), "ZZ")


def _named(descriptions: list[str | None], skus: tuple[str, ...]) -> tuple[str, ...]:
    """What each product was called last, or its code where it was never described."""
    return tuple((text or "").strip() or sku for text, sku in zip(descriptions, skus, strict=True))
