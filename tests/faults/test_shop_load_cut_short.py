"""A load that is cut short leaves no half of a shop behind that counts as one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from tercet import Tercet
from tercet_shop import mongo as documents
from tercet_shop import prepare
from tercet_shop.models import Base
from tercet_shop.mongo import LOADING

ROOT = Path(__file__).parents[2]

# Large enough that each part takes several blocks, small enough to be loaded in a second.
USERS, ORDERS = 2_000, 40_000

# A process that loads, and kills itself without a word when `part` has begun to move.
KILLED = f"""
import asyncio, os, signal, sys
from tercet import Tercet
from tercet_shop import prepare

def die(part, done, total):
    if part == sys.argv[3] and done:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with Tercet(postgres=sys.argv[1], mongo=sys.argv[2]) as db:
        await prepare(db, users={USERS}, orders={ORDERS}, seed=5, lined_orders=100, on_progress=die)

asyncio.run(main())
"""


@pytest_asyncio.fixture
async def db(postgres_url: str, mongo_url: str) -> AsyncIterator[Tercet]:
    """Two empty stores."""
    async with Tercet(postgres=postgres_url, mongo=mongo_url) as db:
        yield db


async def _count(db: Tercet, table: str) -> int:
    async with db.postgres.connection() as connection:
        counted = await connection.execute(select(func.count()).select_from(Base.metadata.tables[table]))
        return int(counted.scalar_one())


@pytest.mark.parametrize("part", ["orders", "keys and indexes", "statistics", "documents"])
async def test_a_load_killed_in_any_part_is_made_whole_by_the_next(
    db: Tercet, postgres_url: str, mongo_url: str, part: str
) -> None:
    """The old shop stands until the new one is whole; the next call ends with all of it."""
    await prepare(db, users=10, orders=20)
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("src", "examples/shop"))
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, postgres_url, mongo_url, part],
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    committed = part in {"statistics", "documents"}
    assert await _count(db, "users") == (USERS if committed else 10)

    shop = await prepare(db, users=USERS, orders=ORDERS, seed=5, lined_orders=100)

    assert (shop.postgres is None, shop.mongo is None) == (committed, False)
    assert (await _count(db, "users"), await _count(db, "orders")) == (USERS, ORDERS)
    assert await db.mongo["orders"].count_documents({}) == ORDERS
    again = await prepare(db, users=USERS, orders=ORDERS, seed=5, lined_orders=100)
    assert (again.postgres, again.mongo) == (None, None)


@pytest.mark.parametrize("part", ["orders", "keys and indexes", "documents"])
async def test_a_cancelled_load_leaves_the_connection_fit_for_the_next(db: Tercet, part: str) -> None:
    """Cancelled in the middle of a part, the same Tercet loads the same shop right after."""
    begun = asyncio.Event()

    def watch(told: str, done: int, total: int) -> None:
        if told == part and 0 < done < total:
            begun.set()

    load = asyncio.create_task(prepare(db, users=USERS, orders=ORDERS, lined_orders=100, on_progress=watch))
    await begun.wait()
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    shop = await prepare(db, users=USERS, orders=ORDERS, lined_orders=100)
    assert shop.mongo is not None
    assert (await _count(db, "orders"), await db.mongo["orders"].count_documents({})) == (ORDERS, ORDERS)


async def test_two_loads_at_once_end_with_one_whole_shop(db: Tercet) -> None:
    """The second waits for the first and finds the shop there."""
    shops = await asyncio.gather(*(prepare(db, users=USERS, orders=ORDERS, lined_orders=100) for _ in range(2)))
    assert sorted(shop.postgres is None for shop in shops) == [False, True]
    assert sorted(shop.mongo is None for shop in shops) == [False, True]
    assert (await _count(db, "orders"), await db.mongo["orders"].count_documents({})) == (ORDERS, ORDERS)


async def test_what_a_killed_load_still_had_under_way_comes_among_no_other_documents(db: Tercet) -> None:
    """The server goes on with a dead process's batches, also while the next load puts its own in."""
    begun = asyncio.Event()

    def watch(part: str, done: int, total: int) -> None:
        if part == "documents":
            begun.set()

    load = asyncio.create_task(prepare(db, users=USERS, orders=ORDERS, lined_orders=100, on_progress=watch))
    await begun.wait()
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    (left,) = await _loading(db)
    tasks: list[asyncio.Future[object]] = []

    def go_on(part: str, done: int, total: int) -> None:
        if part == "documents" and not done:
            tasks.append(asyncio.ensure_future(db.mongo[left].insert_one({"_id": ORDERS})))

    await prepare(db, users=USERS, orders=ORDERS, lined_orders=100, on_progress=go_on)
    assert await asyncio.gather(*tasks)
    assert await db.mongo["orders"].count_documents({}) == ORDERS


async def _loading(db: Tercet) -> list[str]:
    """The collections of loads that are not done."""
    return [name for name in await db.mongo.list_collection_names() if name.startswith(LOADING)]


async def test_a_batch_that_fails_is_told_by_itself_and_the_shop_is_not_marked_whole(
    db: Tercet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MongoDB's refusal comes out as it is, not wrapped in a group, and the next load begins anew."""
    from pymongo.errors import BulkWriteError

    batches = documents._batches
    monkeypatch.setattr(documents, "_batches", lambda source: [*batches(source), *batches(source)])
    with pytest.raises(BulkWriteError):
        await prepare(db, users=USERS, orders=ORDERS, lined_orders=100)
    mark = await db.mongo["shop_facts"].find_one({"_id": "orders"})
    assert mark is not None
    assert mark["finished"] is False
    monkeypatch.undo()
    await prepare(db, users=USERS, orders=ORDERS, lined_orders=100)
    assert await db.mongo["orders"].count_documents({}) == ORDERS
