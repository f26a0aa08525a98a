"""An order is placed: its rows, the stock and the news of it in one transaction; what follows from it comes after."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID  # noqa: TC003 - msgspec reads the annotations when it runs

import msgspec
from sqlalchemy import case, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or

from tercet.changes.outbox import Event
from tercet_shop.errors import BasketUnfit, ProductsUnknown, StockShort, UserMissing
from tercet_shop.models import Order, OrderItem, Product, User

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymongo.asynchronous.client_session import AsyncClientSession
    from sqlalchemy.ext.asyncio import AsyncSession

    from tercet import Tercet

# An order locks each of its products until it is committed, and others wait for them.
PRODUCTS_MAX = 200
# What one line can be; the column is an integer.
QUANTITY_MAX = 10_000

# One document a user: how many orders, and what they came to.
SUMMARIES = "order_summaries"


class OrderPlaced(Event, key="user_id"):
    """Somebody has bought something; a user's orders are told in the order of their commits."""

    order_id: int
    user_id: int
    pence: int


class Placed(msgspec.Struct, frozen=True):
    """An order as it stands; `again` says that this request had made it before."""

    id: int
    total: Decimal
    again: bool = False


class _Product(NamedTuple):
    id: int
    price: Decimal
    stock: int


class OrderService:
    """Places orders, each once, at today's prices, and never of more than there is."""

    def __init__(self, db: Tercet) -> None:
        self._db = db

    async def place(self, user_id: int, basket: Iterable[tuple[int, int]], *, request: UUID) -> Placed:
        """Place an order of these products and quantities; a product that is named twice is one line.

        `request` is the request's own: sent again, it finds its first order, whatever the basket then says. Raises
        BasketUnfit, UserMissing, ProductsUnknown and StockShort, and has changed nothing then.
        """
        wanted = _merged(basket)
        async with self._db.transaction() as tx:
            country = await tx.session.scalar(select(User.country).where(User.id == user_id))
            if country is None:
                raise UserMissing(user_id)
            products = await _locked(tx.session, wanted)
            # Behind the lock: the same request may have been placed while this one waited for it.
            placed = await _placed(tx.session, user_id, request)
            if placed is None:
                _check(products, wanted)
                total = sum((one.price * wanted[one.id] for one in products), start=Decimal(0))
                made = await _inserted(tx.session, user_id, country, total, request)
                if made is not None:
                    await _lines(tx.session, made, products, wanted)
                    tx.emit(OrderPlaced(order_id=made, user_id=user_id, pence=int(total * 100)))
                    placed = Placed(made, total)
        # The same request at the same moment with another basket: the other one was first.
        return placed or await self.place(user_id, wanted.items(), request=request)


def keep_summaries(db: Tercet) -> None:
    """Keep each user's number of orders and their sum in MongoDB: once for each order, however often it is told."""

    @db.on(OrderPlaced, once="mongo", name="shop.summaries")
    async def summarize(event: OrderPlaced, session: AsyncClientSession) -> None:
        await db.mongo[SUMMARIES].update_one(
            {"_id": event.user_id},
            {"$inc": {"orders": 1, "pence": event.pence}, "$set": {"last_order": event.order_id}},
            upsert=True,
            session=session,
        )


def _merged(basket: Iterable[tuple[int, int]]) -> dict[int, int]:
    wanted: Counter[int] = Counter()
    for product_id, quantity in basket:
        if quantity < 1:
            raise BasketUnfit(f"of product {product_id} it wants {quantity}")
        wanted[product_id] += quantity
    if not 1 <= len(wanted) <= PRODUCTS_MAX:
        raise BasketUnfit(f"it has {len(wanted)} products, and an order has 1 to {PRODUCTS_MAX}")
    if max(wanted.values()) > QUANTITY_MAX:
        raise BasketUnfit(f"it wants more than {QUANTITY_MAX:,} of a product")
    return dict(wanted)


async def _locked(session: AsyncSession, wanted: dict[int, int]) -> Sequence[_Product]:
    """The products, which nobody else sells before this transaction ends; in the order of their ids.

    All who order lock in the same order, so that two of them cannot wait for each other.
    """
    columns = select(Product.id, Product.price, Product.stock)
    rows = await session.execute(columns.where(Product.id.in_(wanted)).order_by(Product.id).with_for_update())
    return [_Product(*row) for row in rows]


def _check(products: Sequence[_Product], wanted: dict[int, int]) -> None:
    if unknown := wanted.keys() - {one.id for one in products}:
        raise ProductsUnknown(tuple(sorted(unknown)))
    if short := {one.id: one.stock for one in products if one.stock < wanted[one.id]}:
        raise StockShort(short)


async def _placed(session: AsyncSession, user_id: int, request: UUID) -> Placed | None:
    there = select(Order.id, Order.total).where(Order.user_id == user_id, Order.idempotency_key == request)
    row = (await session.execute(there)).one_or_none()
    return None if row is None else Placed(row.id, row.total, again=True)


async def _inserted(session: AsyncSession, user_id: int, country: str, total: Decimal, request: UUID) -> int | None:
    """The new order's id; None if this request has one by now."""
    row = {"user_id": user_id, "country": country, "total": total, "idempotency_key": request}
    statement = (
        insert_or(Order)
        .values(row)
        .on_conflict_do_nothing(
            index_elements=[Order.user_id, Order.idempotency_key], index_where=Order.idempotency_key.is_not(None)
        )
    )
    made: int | None = await session.scalar(statement.returning(Order.id))
    return made


async def _lines(session: AsyncSession, order_id: int, products: Sequence[_Product], wanted: dict[int, int]) -> None:
    """What is in the order, and out of the stock."""
    lines = [
        {"order_id": order_id, "line": line, "product_id": one.id, "quantity": wanted[one.id], "price": one.price}
        for line, one in enumerate(products, 1)
    ]
    await session.execute(insert(OrderItem), lines)
    # The lock has made sure that it is there; the table's own rule would refuse less than nothing in any case.
    left = Product.stock - case(wanted, value=Product.id)
    taken = update(Product).where(Product.id.in_(wanted)).values(stock=left)
    await session.execute(taken.execution_options(synchronize_session=False))
