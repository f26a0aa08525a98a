"""What every store promises, whichever it is; each test runs on a real PostgreSQL, MongoDB and Redis."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import random
import re
import threading
import time
import uuid
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo.errors
import pytest
import redis.exceptions
import sqlalchemy.exc
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from tercet.errors import (
    BudgetExceeded,
    NotOpen,
    PoolExhausted,
    StoreError,
    StoreMissing,
    StoreUnreachable,
    UsageError,
    WrongLoop,
)
from tercet.tercet import Tercet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tercet.stores import PoolState

HERE = "stores/test_stores_contract.py"
# What is to end by a limit of a fraction of a second has ended by then, on a machine that does other things too.
IN_TIME_SECONDS = 20.0


@dataclass(frozen=True)
class Kind:
    """One store as the suite uses it."""

    name: str
    url: str
    touch: Callable[[Tercet], object]
    ping: Callable[[Tercet], Awaitable[object]]
    hold: Callable[[Tercet], AbstractAsyncContextManager[None]]
    exhausted: type[Exception]

    def tercet(self, **settings: Any) -> Tercet:
        """A Tercet with this store alone."""
        words: Any = {self.name: self.url, **settings}
        return Tercet(**words)


async def ping_postgres(db: Tercet) -> object:
    async with db.postgres.connection() as connection:
        return await connection.exec_driver_sql("SELECT 1")


async def ping_mongo(db: Tercet) -> object:
    return await db.mongo.command("ping")


@asynccontextmanager
async def hold_postgres(db: Tercet) -> AsyncIterator[None]:
    async with db.postgres.connection():
        yield


@asynccontextmanager
async def hold_redis(db: Tercet) -> AsyncIterator[None]:
    async with db.redis.pipeline() as pipeline:
        await pipeline.watch("anything")
        yield


@asynccontextmanager
async def hold_mongo(db: Tercet) -> AsyncIterator[None]:
    async def work() -> None:
        await db.mongo.command({"find": "one", "filter": {"$where": "sleep(20000) || true"}})

    await db.mongo["one"].insert_one({})
    task = asyncio.create_task(work())
    while db.pools()[0].in_use == 0:
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# PyMongo leaves a socket whose connect failed or was cancelled to the garbage collector.
left_by_pymongo = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(params=["postgres", pytest.param("mongo", marks=left_by_pymongo), "redis"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """Each store in turn, on a database of its own."""
    name = str(request.param)
    yield _kind(name, request.getfixturevalue(f"{name}_url"))
    if name == "mongo":
        gc.collect()


def _kind(name: str, url: str) -> Kind:
    if name == "postgres":
        return Kind(
            name,
            url,
            lambda db: db.postgres.engine,
            ping_postgres,
            hold_postgres,
            sqlalchemy.exc.TimeoutError,
        )
    if name == "mongo":
        return Kind(name, url, lambda db: db.mongo, ping_mongo, hold_mongo, pymongo.errors.WaitQueueTimeoutError)
    return Kind(
        name,
        url,
        lambda db: db.redis,
        lambda db: db.redis.ping(),
        hold_redis,
        redis.exceptions.ConnectionError,
    )


def pool(db: Tercet) -> PoolState:
    """The only pool's state."""
    (state,) = db.pools()
    return state


async def test_a_store_opens_answers_and_closes(kind: Kind) -> None:
    """From opening on it answers, and its pool knows what is out."""
    async with kind.tercet() as db:
        await kind.ping(db)
        async with kind.hold(db):
            assert pool(db).in_use == 1
        assert (pool(db).in_use, pool(db).waiting) == (0, 0)
        health = await db.health()
        assert [(one.store, one.status, one.role) for one in health.stores] == [(kind.name, "pass", "primary")]


async def test_an_exhausted_pool_names_its_size_the_wait_and_the_holder(kind: Kind) -> None:
    """The error says which place holds the connection, is the driver's own kind too, and pickles."""
    async with kind.tercet(**{f"{kind.name}_pool_size": 1, f"{kind.name}_pool_wait": "150ms"}) as db:
        async with kind.hold(db):
            started = time.monotonic()
            with pytest.raises(PoolExhausted) as caught:
                await kind.ping(db)
            assert time.monotonic() - started < IN_TIME_SECONDS
        assert isinstance(caught.value, kind.exhausted)
        assert isinstance(caught.value.__cause__, Exception)
        wanted = (
            rf"No {kind.name} connection came free within 1\d\d ms: all 1 are out\. "
            rf"The longest has been held for \d+ ms by {re.escape(HERE)}:\d+: end it sooner, or "
            r"allow more than 1\."
        )
        assert re.fullmatch(wanted, str(caught.value)), str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
        assert (type(again), str(again), again.size) == (type(caught.value), str(caught.value), 1)
        await kind.ping(db)


async def test_health_is_known_while_the_pool_is_exhausted(kind: Kind) -> None:
    """The check has a connection of its own, and says that callers wait."""
    async with kind.tercet(**{f"{kind.name}_pool_size": 1, f"{kind.name}_pool_wait": "2s"}) as db:
        async with kind.hold(db):
            waiting = asyncio.ensure_future(kind.ping(db))
            while pool(db).waiting == 0:
                await asyncio.sleep(0.005)
            health = await db.health()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        (store,) = health.stores
        assert (store.status, store.reason) == (
            "warn",
            "every connection of the pool is out and callers wait",
        )


async def test_it_is_refused_before_it_is_open_and_after_it_is_closed(kind: Kind) -> None:
    """NotOpen either way; closing twice is fine, opening again is not."""
    db = kind.tercet()
    with pytest.raises(NotOpen, match="is not open yet"):
        kind.touch(db)
    await db.open()
    with pytest.raises(UsageError, match="open already"):
        await db.open()
    await db.close()
    await db.close()
    with pytest.raises(NotOpen, match="has been closed"):
        kind.touch(db)
    with pytest.raises(NotOpen, match="has been closed"):
        await db.open()


async def use(kept: object) -> None:
    """One round trip through a driver that was handed out."""
    match kept:
        case AsyncEngine():
            async with kept.connect():
                pass
        case AsyncDatabase():
            await kept.command("ping")
        case Redis():
            await kept.ping()


async def test_a_driver_kept_beyond_the_close_makes_no_new_connection(kind: Kind) -> None:
    """Whoever has kept the engine, the client or the database gets NotOpen from it."""
    async with kind.tercet() as db:
        kept = kind.touch(db)
    with pytest.raises(NotOpen, match="has been closed"):
        await use(kept)


async def test_another_event_loop_is_refused(kind: Kind) -> None:
    """A connection belongs to the loop that made it."""
    async with kind.tercet() as db:
        found: list[BaseException] = []

        async def use() -> None:
            try:
                kind.touch(db)
            except WrongLoop as error:
                found.append(error)
            try:
                await db.close()
            except WrongLoop as error:
                found.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(use()))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert [str(one) for one in found] == 2 * [str(WrongLoop("This Tercet", forked=False))]
        await kind.ping(db)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
async def test_a_forked_child_is_refused(kind: Kind) -> None:
    """Two processes on one socket would read each other's answers."""
    async with kind.tercet() as db:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                kind.touch(db)
            except WrongLoop as error:
                code = 0 if error.forked else 2
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await kind.ping(db)


async def test_two_live_side_by_side(kind: Kind) -> None:
    """Each has its own pool; the end of one is not the other's."""
    async with kind.tercet() as one:
        async with kind.tercet(**{f"{kind.name}_pool_size": 2}) as two:
            await asyncio.gather(kind.ping(one), kind.ping(two))
            assert (pool(one).size == 2, pool(two).size) == (False, 2)
        await kind.ping(one)


async def test_cancelled_callers_give_their_connections_back(kind: Kind) -> None:
    """Whenever a caller is cancelled, waiting, connecting, asking or giving back, the pool gets all back."""
    seed = random.Random(7)
    async with kind.tercet(**{f"{kind.name}_pool_size": 2, f"{kind.name}_pool_wait": "5s"}) as db:
        for _ in range(12):
            tasks = [asyncio.ensure_future(kind.ping(db)) for _ in range(8)]
            for task in tasks:
                await asyncio.sleep(seed.random() * 0.002)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert (pool(db).in_use, pool(db).waiting) == (0, 0)
        await asyncio.gather(*(kind.ping(db) for _ in range(6)))
        assert (pool(db).in_use, pool(db).waiting) == (0, 0)


async def connections_of(kind: Kind, name: str) -> int:
    """How many connections the server itself counts under this application name."""
    async with kind.tercet() as db:
        if kind.name == "postgres":
            sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
            async with db.postgres.connection() as connection:
                return int((await connection.exec_driver_sql(sql, (name,))).scalar_one())
        if kind.name == "redis":
            return sum(client["name"] == name for client in await db.redis.client_list())
        everybody: dict[str, Any] = {"allUsers": True, "idleConnections": True}
        pipeline: list[dict[str, Any]] = [{"$currentOp": everybody}, {"$match": {"appName": name}}]
        return len(await (await db.mongo.client.admin.aggregate(pipeline)).to_list())


async def test_closing_is_complete_even_while_a_caller_is_busy(kind: Kind) -> None:
    """After a bounded wait the connection is taken from the caller, and the server has none of ours left."""
    name = f"busy-{uuid.uuid4().hex[:8]}"
    db = await kind.tercet(application_name=name, close_wait="100ms").open()
    async with asyncio.timeout(90):
        held = asyncio.Event()

        async def hold() -> None:
            async with kind.hold(db):
                held.set()
                await asyncio.sleep(30)

        busy = asyncio.create_task(hold())
        await held.wait()
        assert await connections_of(kind, name) >= 2
        started = time.monotonic()
        await db.close()
        assert 0.05 < time.monotonic() - started < IN_TIME_SECONDS
        for _ in range(1000):
            left = await connections_of(kind, name)
            if left == 0:
                break
            await asyncio.sleep(0.02)
        assert left == 0
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


async def test_closing_waits_for_a_caller_who_finishes_soon(kind: Kind) -> None:
    """Work under way is let finish within close_wait."""
    db = await kind.tercet(close_wait="5s").open()
    if kind.name == "mongo":
        await db.mongo["one"].insert_one({})

    async def finish() -> None:
        if kind.name == "mongo":
            await db.mongo["one"].find_one({"$where": "sleep(300) || true"})
            return
        async with kind.hold(db):
            await asyncio.sleep(0.3)

    work = asyncio.create_task(finish())
    await asyncio.sleep(0.1)
    await db.close()
    assert work.done()
    assert work.exception() is None


def closed(kind: Kind) -> str:
    """An address like the store's where nobody listens, with a password in it."""
    place = "secretuser:hunter2secret@127.0.0.1:1"
    return {
        "postgres": f"postgresql://{place}/d",
        "mongo": f"mongodb://{place}/d",
        "redis": f"redis://{place}/0",
    }[kind.name]


async def test_a_store_that_is_down_at_opening_is_named_and_the_rest_is_closed(kind: Kind, redis_url: str) -> None:
    """StoreUnreachable within the deadline, without a secret; the failed Tercet can be closed."""
    others = {} if kind.name == "redis" else {"redis": redis_url}
    name = f"down-{uuid.uuid4().hex[:8]}"
    settings = {f"{kind.name}_connect_timeout": "300ms", "application_name": name}
    words: Any = {kind.name: closed(kind), **others, **settings}
    db = Tercet(**words)
    started = time.monotonic()
    with pytest.raises(StoreUnreachable) as caught:
        await db.open()
    assert time.monotonic() - started < IN_TIME_SECONDS
    assert caught.value.store == kind.name
    assert str(caught.value).startswith(f"{kind.name} at 127.0.0.1:1 does not answer: the connection is refused.")
    for text in (str(caught.value), repr(caught.value), str(caught.value.__dict__)):
        assert "hunter2secret" not in text
    await db.close()
    with pytest.raises(NotOpen):
        kind.touch(db)
    if others:
        await asyncio.sleep(0.05)
        async with Tercet(redis=redis_url) as check:
            assert [one["name"] for one in await check.redis.client_list() if one["name"] == name] == []


async def test_pools_that_cannot_fit_are_refused_with_the_arithmetic(kind: Kind) -> None:
    """The server's own limit is read, and the sentence says what would fit."""
    db = kind.tercet(**{f"{kind.name}_pool_size": 900, "instances": 900})
    with pytest.raises(BudgetExceeded, match=r"900 instances with their pools need \d+ \w+ connections") as caught:
        await db.open()
    assert f"Set {kind.name}_pool_size to" in str(caught.value) or "Run fewer instances" in str(caught.value)
    await db.close()


async def test_an_explicit_size_is_respected(kind: Kind) -> None:
    """What was asked for is what there is."""
    async with kind.tercet(**{f"{kind.name}_pool_size": 3}) as db:
        (budget,) = db.budgets()
        assert (budget.size, budget.explicit, pool(db).size) == (3, True, 3)


async def test_a_store_that_is_not_there_says_so_in_one_sentence(kind: Kind) -> None:
    """The other stores are missing, and the sentence says how to give them."""
    async with kind.tercet() as db:
        for other in {"postgres", "mongo", "redis"} - {kind.name}:
            with pytest.raises(StoreMissing, match=rf"Tercet.{other} needs {other}.*Pass {other}=… to Tercet, or set"):
                getattr(db, other)


async def test_every_wait_for_a_connection_is_told(kind: Kind) -> None:
    """Each wait for a connection is an event with its outcome and the pool's size."""
    from tercet.telemetry import ConnectionWaited, Telemetry

    telemetry = Telemetry()
    told: list[object] = []
    telemetry.listen(told.append)
    words = {f"{kind.name}_pool_size": 1, f"{kind.name}_pool_wait": "100ms", "telemetry": telemetry}
    async with kind.tercet(**words) as db, kind.hold(db):
        with pytest.raises(StoreError):
            await kind.ping(db)
    waits = [(one.store, one.outcome, one.size) for one in told if isinstance(one, ConnectionWaited)]
    assert waits[0] == (kind.name, "ok", 1)
    assert waits[-1][0] == kind.name
    assert [one for one in waits if one[1] in {"timeout", "failed"}] != []


def test_a_test_of_this_suite_is_where_the_holder_says() -> None:
    """The place in the exhaustion sentence is this file."""
    assert Path(__file__).as_posix().endswith(HERE)
