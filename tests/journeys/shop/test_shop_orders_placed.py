"""Orders on real stores: each once, never of more than there is, and what follows from them happens once too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from tercet import Tercet
from tercet_shop.errors import BasketUnfit, ProductsUnknown, StockShort, UserMissing
from tercet_shop.models import Category, Order, OrderItem, Product, User, create_schema
from tercet_shop.orders import SUMMARIES, OrderService, Placed, keep_summaries

# Both cores may be taken: nothing here is about how fast anything is.
PATIENCE_SECONDS = 90.0
# A transaction of MongoDB on a machine that does other things too.
SLOW = "60s"

MIA, NOA = 1, 2
TEA, CUP, POT = 1, 2, 3


async def _fill(db: Tercet) -> None:
    async with db.postgres.transaction() as connection:
        await create_schema(connection)
    await db.outbox.install()
    async with db.postgres.session() as session, session.begin():
        shelf = Category(name="Tea", slug="tea")
        for name in ("Mia", "Noa"):
            session.add(User(name=name, email=f"{name}@example.com", country="GB"))
            await session.flush()
        for sku, price, stock in (("tea", "3.50", 5), ("cup", "4.25", 10), ("pot", "20.00", 1)):
            session.add(Product(sku=sku, name=sku, price=Decimal(price), stock=stock, category=shelf))
            await session.flush()


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """Two users and three products; events go into the table, for there is no slot."""
    async with Tercet(postgres=postgres_url) as db:
        await _fill(db)
        yield db


async def stock(db: Tercet) -> list[int]:
    """How much there is of each product."""
    async with db.postgres.session() as session:
        return list(await session.scalars(select(Product.stock).order_by(Product.id)))


async def orders(db: Tercet) -> int:
    """How many orders there are."""
    async with db.postgres.session() as session:
        return await session.scalar(select(func.count(Order.id))) or 0


async def events(db: Tercet) -> int:
    """How many events wait."""
    async with db.postgres.connection() as connection:
        return int((await connection.exec_driver_sql("select count(*) from tercet.outbox")).scalar_one())


async def test_an_order_has_todays_prices_and_takes_from_the_stock(db: Tercet) -> None:
    """A product named twice is one line, and the lines add up to the total."""
    placed = await OrderService(db).place(MIA, [(CUP, 1), (TEA, 2), (CUP, 2)], request=uuid4())
    assert placed.total == Decimal("19.75")
    async with db.postgres.session() as session:
        lines = (await session.execute(select(OrderItem).order_by(OrderItem.line))).scalars().all()
        assert [(one.line, one.product_id, one.quantity, one.price) for one in lines] == [
            (1, TEA, 2, Decimal("3.50")),
            (2, CUP, 3, Decimal("4.25")),
        ]
    assert await stock(db) == [3, 7, 1]
    assert await events(db) == 1


async def test_what_cannot_be_ordered_changes_nothing(db: Tercet) -> None:
    """Each is told by name, and neither stock nor event is left behind."""
    service = OrderService(db)
    with pytest.raises(UserMissing):
        await service.place(99, [(TEA, 1)], request=uuid4())
    with pytest.raises(ProductsUnknown, match="77, 99") as unknown:
        await service.place(MIA, [(99, 1), (TEA, 1), (77, 1)], request=uuid4())
    assert unknown.value.ids == (77, 99)
    with pytest.raises(StockShort, match="1 of product 3") as short:
        await service.place(MIA, [(TEA, 1), (POT, 1), (POT, 1)], request=uuid4())
    assert short.value.left == {POT: 1}
    for basket in ([], [(TEA, 0)], [(TEA, -1)], [(TEA, 10**9)], [(one, 1) for one in range(1000)]):
        with pytest.raises(BasketUnfit):
            await service.place(MIA, basket, request=uuid4())
    assert await stock(db) == [5, 10, 1]
    assert (await orders(db), await events(db)) == (0, 0)


async def test_twenty_buyers_of_the_last_five_get_five(db: Tercet) -> None:
    """The others are told that nothing is left; half of them name their products in the other order."""
    service = OrderService(db)
    baskets = [[(TEA, 1), (CUP, 1)], [(CUP, 1), (TEA, 1)]]
    done = await asyncio.gather(
        *(service.place((MIA, NOA)[turn % 2], baskets[turn % 2], request=uuid4()) for turn in range(20)),
        return_exceptions=True,
    )
    placed = [one for one in done if isinstance(one, Placed)]
    assert len({one.id for one in placed}) == len(placed) == 5
    assert sum(isinstance(one, StockShort) for one in done) == 15
    assert await stock(db) == [0, 5, 1]
    assert (await orders(db), await events(db)) == (5, 5)


async def test_a_request_that_is_sent_again_finds_its_first_order(db: Tercet) -> None:
    """All at once, later, with another basket, when nothing is left; the same of another user is another."""
    service, request = OrderService(db), uuid4()
    baskets = [[(POT, 1)], [(TEA, 1)], [(CUP, 1)]] * 4
    done = await asyncio.gather(*(service.place(MIA, basket, request=request) for basket in baskets))
    assert len({one.id for one in done}) == 1
    assert sorted(one.again for one in done) == [False] + [True] * 11
    again = await service.place(MIA, [(POT, 1)], request=request)
    assert (again.id, again.again) == (done[0].id, True)
    assert sum(await stock(db)) == 15
    assert (await orders(db), await events(db)) == (1, 1)
    assert not (await service.place(NOA, [(TEA, 1)], request=request)).again


async def test_each_order_is_in_its_users_summary_once(db: Tercet, postgres_url: str, mongo_url: str) -> None:
    """What a rolled back transaction has said is in none."""
    shop = Tercet(postgres=postgres_url, mongo=mongo_url, mongo_timeout=SLOW)
    keep_summaries(shop)
    async with shop:
        service = OrderService(shop)
        requests = [uuid4() for _ in range(3)]
        for request in requests * 2:
            await service.place(MIA, [(TEA, 1)], request=request)
        with pytest.raises(StockShort):
            await service.place(MIA, [(POT, 9)], request=uuid4())
        last = await service.place(NOA, [(POT, 1)], request=uuid4())

        async def summaries() -> dict[Any, tuple[int, int]]:
            found = await shop.mongo[SUMMARIES].find({}).to_list()
            return {one["_id"]: (one["orders"], one["pence"]) for one in found}

        async with asyncio.timeout(PATIENCE_SECONDS):
            while await summaries() != {MIA: (3, 1050), NOA: (1, 2000)}:
                await asyncio.sleep(0.05)
        noa = await shop.mongo[SUMMARIES].find_one({"_id": NOA})
        assert noa is not None
        assert noa["last_order"] == last.id
