"""The shop's tables refuse what would make them untrue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import selectinload

from tercet import Tercet
from tercet_shop.models import Cart, CartItem, Category, Order, OrderItem, Product, User, create_schema


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A user, a product, an order of it and a cart with it."""
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.transaction() as connection:
            await create_schema(connection)
        async with db.postgres.session() as session, session.begin():
            user = User(name="Mia", email="Mia@example.com", country="GB")
            product = Product(
                sku="P1", name="Tea", price=3, stock=2, category=Category(name="Tea", slug="tea")
            )
            session.add_all((user, product))
            await session.flush()
            order = Order(user_id=user.id, total=6, country="GB")
            order.items.append(OrderItem(line=1, product_id=product.id, quantity=2, price=3))
            cart = Cart(user_id=user.id)
            cart.items.append(CartItem(product_id=product.id, quantity=1))
            session.add_all((order, cart))
        yield db


# A rule's name, and a statement that breaks it.
BROKEN = (
    (
        "uq_users_email_lower",
        "insert into users (name, email, country) values ('M', 'mIA@EXAMPLE.COM', 'GB')",
    ),
    ("ck_users_status_known", "update users set status = 'gone'"),
    ("ck_users_country_is_iso", "update users set country = 'England'"),
    ("ck_users_email_has_at", "update users set email = '@'"),
    ("ck_users_name_given", "update users set name = ''"),
    ("ck_products_price_not_negative", "update products set price = -0.01"),
    ("ck_products_stock_not_negative", "update products set stock = stock - 3"),
    ("uq_products_sku", "insert into products (category_id, sku, name, price) values (1, 'P1', 'T', 1)"),
    ("uq_categories_slug", "insert into categories (name, slug) values ('Other', 'tea')"),
    ("ck_categories_slug_is_plain", "update categories set slug = 'A tea'"),
    ("ck_orders_total_not_negative", "update orders set total = -1"),
    ("ck_orders_status_known", "update orders set status = 'lost'"),
    ("ck_orders_currency_is_iso", "update orders set currency = 'pounds'"),
    ("ck_order_items_quantity_positive", "update order_items set quantity = 0"),
    ("ck_order_items_price_not_negative", "update order_items set price = -1"),
    ("ck_order_items_line_positive", "update order_items set line = 0"),
    (
        "pk_order_items",
        "insert into order_items (order_id, line, quantity, product_id, price) values (1,1,1,1,1)",
    ),
    ("uq_carts_user_id", "insert into carts (user_id) values (1)"),
    ("ck_cart_items_quantity_positive", "update cart_items set quantity = 0"),
    ("pk_cart_items", "insert into cart_items (cart_id, product_id, quantity) values (1, 1, 1)"),
    ("fk_orders_user_id_users", "delete from users"),
    ("fk_order_items_product_id_products", "delete from products"),
    ("fk_products_category_id_categories", "delete from categories"),
    ("fk_orders_user_id_users", "insert into orders (user_id, total, country) values (99, 1, 'GB')"),
)


async def test_the_database_itself_refuses_what_breaks_a_rule_and_names_it(db: Tercet) -> None:
    """Whoever writes, and from wherever: the rule is the table's, and its name says which it was."""
    for rule, statement in BROKEN:
        with pytest.raises(IntegrityError, match=rule):
            async with db.postgres.transaction() as connection:
                await connection.execute(text(statement))


async def test_a_request_sent_twice_makes_one_order_and_old_orders_need_no_key(db: Tercet) -> None:
    """A key is unique for its user; without one there may be many."""
    order = "insert into orders (user_id, total, country, idempotency_key) values (1, 1, 'GB', {})"
    async with db.postgres.transaction() as connection:
        for key in ("null", "null", "'00000000-0000-4000-8000-000000000001'"):
            await connection.execute(text(order.format(key)))
    with pytest.raises(IntegrityError, match="uq_orders_user_id_idempotency_key"):
        async with db.postgres.transaction() as connection:
            await connection.execute(text(order.format("'00000000-0000-4000-8000-000000000001'")))


async def test_deleting_an_order_takes_its_lines_and_a_cart_its_items(db: Tercet) -> None:
    """A line without its order means nothing; a product in a cart does not keep it from being deleted."""
    async with db.postgres.session() as session, session.begin():
        await session.delete(await session.get_one(Order, 1))
        await session.flush()
        assert await session.scalar(select(func.count()).select_from(OrderItem)) == 0
        await session.delete(await session.get_one(Product, 1))
        await session.flush()
        assert await session.scalar(select(func.count()).select_from(CartItem)) == 0
        await session.delete(await session.get_one(User, 1))
        await session.flush()
        assert await session.scalar(select(func.count()).select_from(Cart)) == 0


async def test_a_users_last_orders_come_with_lines_and_products_in_three_queries(db: Tercet) -> None:
    """What the page shows is loaded by what it says it shows; the price is the one that was paid."""
    latest = (
        select(Order)
        .where(Order.user_id == 1)
        .order_by(Order.created_at.desc(), Order.id.desc())
        .limit(10)
        .options(selectinload(Order.items).selectinload(OrderItem.product))
    )
    async with db.postgres.session() as session, session.begin():
        (await session.get_one(Product, 1)).price = Decimal(9)
        orders = (await session.scalars(latest)).all()
        shown = [(item.product.name, item.quantity, item.price) for order in orders for item in order.items]
    assert shown == [("Tea", 2, Decimal(3))]


async def test_a_users_last_orders_are_read_from_their_index(db: Tercet) -> None:
    """With a table large enough to matter, PostgreSQL walks the index and sorts nothing."""
    async with db.postgres.transaction() as connection:
        await connection.execute(
            text(
                "insert into users (name, email, country)"
                " select 'U', 'u@' || g, 'GB' from generate_series(1, 500) g"
            )
        )
        await connection.execute(
            text(
                "insert into orders (user_id, total, country, created_at)"
                " select g % 500 + 1, 1, 'GB', now() - g * interval '1 minute'"
                " from generate_series(1, 20000) g"
            )
        )
        await connection.execute(text("analyze orders"))
        plan = await connection.execute(
            text("explain select * from orders where user_id = 7 order by created_at desc limit 10")
        )
        told = "\n".join(plan.scalars())
    assert "Index Scan using ix_orders_user_id_created_at" in told
    assert "Sort" not in told
