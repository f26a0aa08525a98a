"""A shop in real stores: whole, the same in both, loaded once, and never over somebody else's tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
import pytest_asyncio
from sqlalchemy import text

from tercet import Tercet
from tercet_shop import AS_WRITTEN, Spender, create_schema, drop_schema, prepare
from tercet_shop import copy_rows as copy
from tercet_shop.assemble import texts
from tercet_shop.errors import NotTheShops
from tercet_shop.generate import GeneratedShop
from tercet_shop.plan import ShopSize
from tercet_shop.tables import blocks

USERS, ORDERS, LINED = 1_500, 20_000, 400

# Columns, constraints, indexes and identities, as the catalogue spells them.
CATALOGUE = """
select 'column', c.table_name, c.column_name, concat_ws(' ', c.data_type, c.is_nullable, c.column_default,
       c.numeric_precision, c.numeric_scale, c.identity_generation, c.ordinal_position)
from information_schema.columns c where c.table_schema = 'public' and c.table_name <> 'shop_facts'
union all
select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid) || convalidated
from pg_constraint where connamespace = 'public'::regnamespace and conrelid::regclass::text <> 'shop_facts'
union all
select 'index', tablename, indexname, indexdef from pg_indexes where schemaname = 'public'
order by 1, 2, 3
"""


@pytest_asyncio.fixture
async def db(postgres_url: str, mongo_url: str) -> AsyncIterator[Tercet]:
    """Two empty stores."""
    async with Tercet(postgres=postgres_url, mongo=mongo_url) as db:
        yield db


async def _rows(db: Tercet, statement: str, **values: object) -> list[tuple[Any, ...]]:
    async with db.postgres.connection() as connection:
        return [tuple(row) for row in await connection.execute(text(statement), values)]


async def test_both_stores_hold_what_was_drawn_to_the_penny(db: Tercet) -> None:
    """Counts and sums of rows, lines and documents are those of the generator."""
    await prepare(db, users=USERS, orders=ORDERS, seed=3, lined_orders=LINED)

    source = GeneratedShop(ShopSize(USERS, ORDERS, LINED), 3)
    pence = np.concatenate([source.orders(block).pence for block in blocks(ORDERS)])
    total = Decimal(int(pence.sum())).scaleb(-2)
    lines = sum(len(source.lines(block).order) for block in blocks(ORDERS))
    assert await _rows(db, "select count(*), sum(total) from orders") == [(ORDERS, total)]
    assert await _rows(db, "select count(*), count(distinct order_id) from order_items") == [(lines, LINED)]
    assert await _rows(db, "select count(*), count(distinct lower(email)) from users") == [(USERS, USERS)]
    summed = await (
        await db.mongo["orders"].aggregate(
            [{"$group": {"_id": None, "orders": {"$sum": 1}, "total": {"$sum": "$total"}}}]
        )
    ).to_list()
    assert [(one["orders"], one["total"].to_decimal()) for one in summed] == [(ORDERS, total)]


async def test_a_document_says_what_the_rows_say(db: Tercet) -> None:
    """The newest order, with its lines and their products' names, is the same in both stores."""
    await prepare(db, users=USERS, orders=ORDERS, seed=3, lined_orders=LINED)
    order = await db.mongo["orders"].find_one({"_id": ORDERS})
    assert order is not None
    row = await _rows(
        db,
        "select user_id, created_at, status, country, currency, total from orders where id = :id",
        id=ORDERS,
    )
    kept = tuple(order[name] for name in ("user_id", "created_at", "status", "country", "currency"))
    assert [(*kept, order["total"].to_decimal())] == row
    items = await _rows(
        db,
        "select i.product_id, p.name, i.quantity, i.price"
        " from order_items i join products p on p.id = i.product_id"
        " where i.order_id = :id order by i.line",
        id=ORDERS,
    )
    held = [
        (one["product_id"], one["name"], one["quantity"], one["price"].to_decimal()) for one in order["items"]
    ]
    assert held == items
    assert sum((quantity * price for _, _, quantity, price in held), Decimal()) == order["total"].to_decimal()


async def test_the_loaded_schema_is_the_models_schema(db: Tercet) -> None:
    """Keys and indexes that are made after the load are, by the catalogue, those of the models."""
    async with db.postgres.transaction() as connection:
        await create_schema(connection)
        declared = [tuple(row) for row in await connection.execute(text(CATALOGUE))]
        await drop_schema(connection)
    await prepare(db, users=50, orders=100, documents=False)
    assert {row[0] for row in declared} == {"column", "constraint", "index"}
    assert await _rows(db, CATALOGUE) == declared


async def test_no_index_of_the_shop_is_the_beginning_of_another(db: Tercet) -> None:
    """Every index serves something that no other serves."""
    await prepare(db, users=50, orders=100, documents=False)
    columns = await _rows(
        db,
        "select indrelid::regclass::text, indexrelid::regclass::text, indkey::text || ' ' from pg_index"
        " where indrelid::regclass::text = any(:tables) and indpred is null and indexprs is null",
        tables=["users", "orders", "order_items", "products", "categories", "carts", "cart_items"],
    )
    doubled = [
        (one, other)
        for table, one, first in columns
        for beside, other, second in columns
        if table == beside and one != other and str(second).startswith(str(first))
    ]
    assert doubled == []


async def test_a_second_call_finds_the_shop_and_another_shop_replaces_it(db: Tercet) -> None:
    """The same facts load nothing; other facts load everything, in both stores."""
    first = await prepare(db, users=50, orders=200, seed=1)
    again = await prepare(db, users=50, orders=200, seed=1)
    other = await prepare(db, users=60, orders=100, seed=2)
    assert (first.postgres is not None, first.mongo is not None) == (True, True)
    assert (again.postgres, again.mongo, again.facts) == (None, None, first.facts)
    assert (other.postgres is not None, other.mongo is not None) == (True, True)
    assert await _rows(db, "select count(*) from users") == [(60,)]
    assert await db.mongo["orders"].count_documents({}) == 100


async def test_an_identity_goes_on_after_the_last_loaded_id(db: Tercet) -> None:
    """A new order gets the next id, not one that is taken."""
    await prepare(db, users=50, orders=200, documents=False)
    async with db.postgres.transaction() as connection:
        new = await connection.execute(
            text("insert into orders (user_id, total, country) values (1, 1, 'GB') returning id")
        )
        assert new.scalar_one() == 201


async def test_every_page_is_counted_and_seen_by_all_after_the_load(db: Tercet) -> None:
    """Statistics are there and nothing is left for a vacuum to do."""
    await prepare(db, users=USERS, orders=ORDERS, lined_orders=0, documents=False)
    seen = "select reltuples::bigint, relallvisible = relpages from pg_class where relname = 'orders'"
    assert await _rows(db, seen) == [(ORDERS, True)]


async def test_progress_of_every_part_ends_where_it_said_it_would(db: Tercet) -> None:
    """Each part begins below or at its end, rises, and ends at it."""
    told: dict[str, list[tuple[int, int]]] = {}
    await prepare(
        db,
        users=USERS,
        orders=ORDERS,
        lined_orders=LINED,
        on_progress=lambda part, done, total: told.setdefault(part, []).append((done, total)),
    )
    assert set(told) >= {"users", "orders", "order lines", "keys and indexes", "documents"}
    for steps in told.values():
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1] == steps[0][1]


async def test_money_and_texts_arrive_as_they_were_sent(db: Tercet) -> None:
    """Every edge of four-digit groups, the column's last penny, and texts of any script pass the wire."""
    pence = [0, 1, 9, 10, 99, 100, 9_999, 10_000, 999_999, 1_000_000, 1_000_001, 99_999_999, 100_000_000]
    pence += [99_999_999_99, 10**10, 123_456_789_012, 10**12 - 1]
    names = ["", "a", "naïve", "雪", "'; --", "\\N", "tab\t\n"] + [
        "x" * place for place in range(len(pence) - 7)
    ]

    async def rows() -> AsyncIterator[bytes]:
        fields = [copy.money(np.array(pence)), copy.text(b"<", texts(names), b">")]
        yield copy.HEADER + copy.rows(len(pence), fields)
        yield copy.TRAILER

    async with db.postgres.transaction() as connection:
        await connection.execute(text("create table sent (total numeric(12, 2), name text)"))
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.copy_to_table("sent", source=rows(), format="binary")
    read = await _rows(db, "select total, total::text, name from sent")
    expected = [Decimal(one).scaleb(-2) for one in pence]
    assert read == [(one, f"{one:.2f}", f"<{name}>") for one, name in zip(expected, names, strict=True)]
    same = (
        "select count(*) from sent s join (select unnest(cast(:all as numeric[])) as total) w using (total)"
    )
    assert await _rows(db, same, all=expected) == [(len(pence),)]


async def test_a_shop_without_orders_can_be_loaded_too(db: Tercet) -> None:
    """Nothing to send is no reason to fail."""
    shop = await prepare(db, users=1, orders=0)
    assert (shop.facts.orders, await db.mongo["orders"].count_documents({})) == (0, 0)
    assert await _rows(db, "select count(*) from users") == [(1,)]


async def test_tables_that_are_not_the_shops_are_left_alone(db: Tercet) -> None:
    """A users table without the shop's mark stops everything, and stays."""
    async with db.postgres.transaction() as connection:
        await connection.execute(text("create table users (mine int)"))
    with pytest.raises(NotTheShops, match="postgres database has users already"):
        await prepare(db, users=50, orders=100)
    assert await _rows(db, "select count(*) from users") == [(0,)]


async def test_a_collection_that_is_not_the_shops_is_left_alone(db: Tercet) -> None:
    """Somebody's orders in MongoDB are not dropped for the shop's."""
    await db.mongo["orders"].insert_one({"mine": True})
    with pytest.raises(NotTheShops, match="mongo database has orders already"):
        await prepare(db, users=50, orders=100)
    assert await db.mongo["orders"].count_documents({"mine": True}) == 1


async def test_the_question_is_answered_as_a_person_would_answer_it(db: Tercet) -> None:
    """Greatest total first, the lower id where totals are alike; nobody old or inactive, nobody left out."""
    shop = await prepare(db, users=400, orders=500, documents=False)
    rows = await _rows(db, AS_WRITTEN, since=shop.since)
    spenders = [Spender(*row) for row in rows]
    users = await _rows(
        db,
        "select id, name, email from users where status = 'active' and created_at >= :since",
        since=shop.since,
    )
    orders = await _rows(db, "select user_id, total from orders")
    expected = []
    for number, name, email in users:
        spent = [total for who, total in orders if who == number]
        expected.append(Spender(number, name, email, len(spent), sum(spent, Decimal())))
    expected.sort(key=lambda one: (-one.total_spent, one.user_id))
    assert spenders == expected[:100]
    assert min(one.order_count for one in expected) == 0
    assert [field.name for field in msgspec.structs.fields(Spender)] == [
        "user_id", "name", "email", "order_count", "total_spent",
    ]  # fmt: skip
