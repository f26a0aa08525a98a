"""The shop's rows as binary COPY, table by table, each with the columns that are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from tercet_shop import copy_rows as copy
from tercet_shop.assemble import texts
from tercet_shop.tables import BLOCK, Catalogue, Lines, Orders, Source, Users, blocks
from tercet_shop.words import slug

if TYPE_CHECKING:
    from tercet_shop.port import Progress

# The file's shop and the generated one sell in pounds.
CURRENCY = b"GBP"

# Some rows: how many, and what is sent for them.
Chunk = tuple[int, bytes]
# A table, the columns that are sent, and its rows.
Part = tuple[str, tuple[str, ...], Iterator[Chunk]]

CATEGORY_COLUMNS = ("id", "created_at", "updated_at", "name", "slug")
PRODUCT_COLUMNS = ("id", "category_id", "created_at", "updated_at", "stock", "price", "sku", "name")
USER_COLUMNS = ("id", "created_at", "updated_at", "name", "email", "status", "country")
ORDER_COLUMNS = ("id", "user_id", "created_at", "updated_at", "total", "status", "country", "currency")
LINE_COLUMNS = ("order_id", "line", "quantity", "product_id", "price")


def parts(source: Source, on_progress: Progress) -> Iterator[Part]:
    """Every table that is filled, in an order in which what is referred to comes first."""
    facts, catalogue = source.facts, source.catalogue()

    def each(part: str, total: int, first: int, encode: Callable[[int], Chunk]) -> Iterator[Chunk]:
        for block in blocks(total)[first // BLOCK :]:
            on_progress(part, max(block * BLOCK - first, 0), total - first)
            yield encode(block)
        on_progress(part, total - first, total - first)

    yield "categories", CATEGORY_COLUMNS, iter([category_rows(catalogue)])
    yield "products", PRODUCT_COLUMNS, iter([product_rows(catalogue)])
    yield "users", USER_COLUMNS, each("users", facts.users, 0, lambda block: user_rows(source.users(block)))
    yield (
        "orders",
        ORDER_COLUMNS,
        each("orders", facts.orders, 0, lambda block: order_rows(source.orders(block))),
    )
    # It is the newest orders that have their lines; the progress counts those orders.
    bare = facts.orders - facts.lined_orders
    lines = each("order lines", facts.orders, bare, lambda block: line_rows(source.lines(block)))
    yield "order_items", LINE_COLUMNS, lines


def category_rows(catalogue: Catalogue) -> Chunk:
    """All categories."""
    names = catalogue.category_names
    created = copy.timestamptz(np.full(len(names), catalogue.created.min(initial=0)))
    return len(names), copy.rows(
        len(names),
        [
            copy.bigint(np.arange(1, len(names) + 1)),
            created,
            created,
            copy.text(texts(names)),
            copy.text(texts(slug(name) for name in names)),
        ],
    )


def product_rows(catalogue: Catalogue) -> Chunk:
    """All products."""
    count = len(catalogue.category)
    created = copy.timestamptz(catalogue.created)
    return count, copy.rows(
        count,
        [
            copy.bigint(np.arange(1, count + 1)),
            copy.bigint(catalogue.category),
            created,
            created,
            copy.integer(catalogue.stock),
            copy.money(catalogue.pence),
            copy.text(catalogue.sku),
            copy.text(catalogue.name),
        ],
    )


def user_rows(users: Users) -> Chunk:
    """The users of a block."""
    return len(users.id), copy.rows(
        len(users.id),
        [
            copy.bigint(users.id),
            copy.timestamptz(users.created),
            copy.timestamptz(users.updated),
            copy.text(*users.name),
            copy.text(*users.email),
            copy.text(users.status),
            copy.letters(users.country),
        ],
    )


def order_rows(orders: Orders) -> Chunk:
    """The orders of a block."""
    return len(orders.id), copy.rows(
        len(orders.id),
        [
            copy.bigint(orders.id),
            copy.bigint(orders.user),
            copy.timestamptz(orders.created),
            copy.timestamptz(orders.updated),
            copy.money(orders.pence),
            copy.text(orders.status),
            copy.letters(orders.country),
            copy.text(CURRENCY),
        ],
    )


def line_rows(lines: Lines) -> Chunk:
    """The lines of a block's orders."""
    return len(lines.order), copy.rows(
        len(lines.order),
        [
            copy.bigint(lines.order),
            copy.integer(lines.line),
            copy.integer(lines.quantity),
            copy.bigint(lines.product),
            copy.money(lines.pence),
        ],
    )
