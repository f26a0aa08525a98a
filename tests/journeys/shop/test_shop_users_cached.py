"""The recipe on real stores: each write drops what it has made untrue, in every process, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from tercet import Cache, Tercet
from tercet.changes import Wants
from tercet_shop.errors import StatusUnknown, UserMissing
from tercet_shop.models import User, create_schema
from tercet_shop.users import Account, UserCacheService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE = "10s"
PATIENCE_SECONDS = 30.0

HASH = "$argon2id$v=19$m=65536$secret"

# Who is in the shop: ids are those of the order. Nobody has the fifth one yet.
STATUSES = ("active", "active", "pending", "inactive")
NEXT = 5


class Shop:
    """One database, and the service in two processes' caches."""

    def __init__(self, db: Tercet, caches: tuple[Cache, Cache]) -> None:
        self.db, self.caches = db, caches
        self.here, self.there = (UserCacheService(db, cache) for cache in caches)

    @staticmethod
    def entries(service: UserCacheService) -> dict[str, Any]:
        """Everything that is cached, as something to ask and something to look with."""
        ids = range(1, NEXT + 1)
        lists = [("all", 1), ("active", 1), ("active", 2), ("pending", 1), ("inactive", 1)]
        return {
            **{f"user {one}": (service.user, (one,)) for one in ids},
            **{f"profile {one}": (service.profile, (one,)) for one in ids},
            **{f"list {status} {page}": (service.listed, (status, page)) for status, page in lists},
            "count": (service.active, ()),
        }

    async def warm(self) -> None:
        """Read everything in both processes, the second from Redis."""
        for service in (self.here, self.there):
            for function, arguments in self.entries(service).values():
                await function(*arguments)
            assert await self.gone(service) == set()

    async def gone(self, service: UserCacheService) -> set[str]:
        """What this process would have to read anew."""
        entries = self.entries(service)
        return {name for name, (function, arguments) in entries.items() if await function.peek(*arguments) is None}

    async def dropped(self) -> set[str]:
        """What is gone here, and after a moment in the other process too."""
        gone = await self.gone(self.here)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.gone(self.there) != gone:
                await asyncio.sleep(0.01)
        return gone

    async def true(self, service: UserCacheService) -> bool:
        """Whether this process shows what the database says, wherever it takes it from."""
        async with self.db.postgres.connection() as connection:
            wanted = select(User.id, User.name, User.email, User.status, User.country).order_by(User.id)
            rows = [Account(*row) for row in await connection.execute(wanted)]
        shown = await service.user.many([row.id for row in rows])
        for status in ("all", "active", "inactive", "pending"):
            listed = [line.id for line in await service.listed(status, 1)]
            if listed != [row.id for row in rows if status in {"all", row.status}]:
                return False
        return shown == rows and await service.active() == sum(row.status == "active" for row in rows)


@pytest_asyncio.fixture
async def shop(postgres_url: str, redis_url: str) -> AsyncIterator[Shop]:
    """Four users with passwords, and everything about them warm in two processes."""
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.transaction() as connection:
            await create_schema(connection)
            await connection.execute(text("alter table users add column password_hash text"))
            for number, status in enumerate(STATUSES, 1):
                await connection.execute(
                    text(
                        "insert into users (name, email, country, status, password_hash)"
                        " values (:name, :email, 'GB', :status, :secret)"
                    ),
                    {"name": f"U{number}", "email": f"u{number}@example.com", "status": status, "secret": HASH},
                )
        async with Cache(redis_url, deadline=DEADLINE) as one, Cache(redis_url, deadline=DEADLINE) as two:
            made = Shop(db, (one, two))
            await made.warm()
            yield made


BOTH_LISTS_OF_ACTIVE = {"list active 1", "list active 2"}


@pytest.mark.parametrize(
    ("user_id", "changes", "dropped"),
    [
        (1, {"name": "Mia"}, {"user 1", "profile 1", "list all 1", *BOTH_LISTS_OF_ACTIVE}),
        (1, {"email": "mia@example.com"}, {"user 1", "profile 1"}),
        (1, {"country": "KR"}, {"user 1", "profile 1"}),
        (
            1,
            {"status": "inactive"},
            {"user 1", "profile 1", "list all 1", *BOTH_LISTS_OF_ACTIVE, "list inactive 1", "count"},
        ),
        (3, {"status": "inactive"}, {"user 3", "profile 3", "list all 1", "list pending 1", "list inactive 1"}),
        (
            4,
            {"status": "active", "name": "Noa"},
            {"user 4", "profile 4", "list all 1", *BOTH_LISTS_OF_ACTIVE, "list inactive 1", "count"},
        ),
        (2, {"name": "U2", "status": "active"}, set()),
    ],
    ids=lambda one: str(one) if isinstance(one, dict) else None,
)
async def test_an_update_drops_exactly_what_it_has_made_untrue(
    shop: Shop, user_id: int, changes: dict[str, str], dropped: set[str]
) -> None:
    """The user, his profile, the lists that he is or was in, and the count where his status says so."""
    after = await shop.here.update(user_id, **changes)
    assert {name: getattr(after, name) for name in changes} == changes
    assert await shop.dropped() == dropped
    assert await shop.true(shop.here)
    assert await shop.true(shop.there)


async def test_deactivating_a_user_is_an_update_and_doing_it_again_drops_nothing(shop: Shop) -> None:
    """The second time nothing changes."""
    assert (await shop.here.deactivate(2)).status == "inactive"
    wanted = {"user 2", "profile 2", "list all 1", *BOTH_LISTS_OF_ACTIVE, "list inactive 1", "count"}
    assert await shop.dropped() == wanted
    await shop.warm()
    await shop.there.deactivate(2)
    assert await shop.dropped() == set()


@pytest.mark.parametrize(
    ("status", "dropped"),
    [
        ("active", {*BOTH_LISTS_OF_ACTIVE, "count"}),
        ("pending", {"list pending 1"}),
    ],
)
async def test_a_new_user_is_in_his_lists_and_no_longer_unknown(shop: Shop, status: str, dropped: set[str]) -> None:
    """That nobody had his id was cached as well."""
    assert await shop.there.user(NEXT) is None
    made = await shop.here.create(name="New", email="new@example.com", country="KR", status=status)
    assert made.id == NEXT
    assert await shop.dropped() == {f"user {NEXT}", f"profile {NEXT}", "list all 1", *dropped}
    assert await shop.there.user(NEXT) == made
    assert await shop.true(shop.there)


async def test_who_does_not_exist_cannot_be_updated_and_nothing_is_dropped(shop: Shop) -> None:
    """Nor where the database refuses a change."""
    with pytest.raises(UserMissing, match="No user has the id 99"):
        await shop.here.update(99, name="Nobody")
    with pytest.raises(IntegrityError):
        await shop.here.update(1, email="U2@example.com")
    with pytest.raises(IntegrityError):
        await shop.here.create(name="Again", email="u1@example.com", country="GB")
    with pytest.raises(IntegrityError):
        await shop.here.update(1, status="gone")
    assert await shop.dropped() == set()
    with pytest.raises(StatusUnknown, match="all, active, inactive, pending"):
        await shop.here.listed("gone", 1)


async def test_many_users_are_one_question_and_each_is_dropped_alone(shop: Shop) -> None:
    """In the order asked, None for who does not exist."""
    await shop.here.update(3, name="Three")
    loads = shop.caches[0].stats().loads
    names = [user and user.name for user in await shop.here.user.many([4, 3, NEXT, 1])]
    assert names == ["U4", "Three", None, "U1"]
    assert shop.caches[0].stats().loads == loads + 1


async def test_no_secret_of_a_user_comes_into_redis(shop: Shop, redis_url: str) -> None:
    """The type names what is read; the row has more."""
    async with shop.db.postgres.connection() as connection:
        assert (await connection.execute(text("select password_hash from users where id = 1"))).scalar_one() == HASH
    client: Any = Redis.from_url(redis_url)
    async with client:
        kept = [await client.get(key) async for key in client.scan_iter("tercet:2:e:*")]
    assert len(kept) == len(shop.entries(shop.here))
    assert any(b"u1@example.com" in value for value in kept)
    assert not any(b"argon2" in value for value in kept)


async def test_updates_at_once_in_two_processes_leave_nothing_old(shop: Shop) -> None:
    """Whoever reads meanwhile, both show in the end what the database says."""
    ending = asyncio.Event()

    async def read(service: UserCacheService) -> None:
        while not ending.is_set():
            for function, arguments in shop.entries(service).values():
                await function(*arguments)

    readers = [asyncio.create_task(read(service)) for service in (shop.here, shop.there)]
    states = ("active", "inactive", "pending")
    await asyncio.gather(
        *(
            (shop.here, shop.there)[turn % 2].update(1 + turn % 4, status=states[turn % 3], name=f"turn {turn}")
            for turn in range(40)
        )
    )
    ending.set()
    await asyncio.gather(*readers)
    for service in (shop.here, shop.there):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await shop.true(service):
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def slotless(shop: Shop) -> AsyncIterator[Shop]:
    """The shop, and no slot left behind: a database that has one cannot be dropped."""
    yield shop
    for cache in shop.caches:
        await cache.close()
    await shop.db.changes.close()
    async with asyncio.timeout(PATIENCE_SECONDS), shop.db.postgres.autocommit() as connection:
        # A server ends a connection, and lets go of its slot, some time after its client has.
        while (
            await connection.execute(
                text("select count(*) from pg_replication_slots where database = current_database()")
            )
        ).scalar_one():
            await asyncio.sleep(0.02)


async def test_who_follows_the_table_hears_of_writers_that_say_nothing(slotless: Shop) -> None:
    """A statement by hand, and a status of which nobody has said what it was before."""
    shop = slotless
    await shop.db.changes.set_up(Wants({"users": frozenset({"status"})}))
    following = shop.here.follow()
    await following.ready()
    await shop.warm()
    async with shop.db.transaction(hear=PATIENCE_SECONDS) as tx:
        await tx.session.execute(text("update users set status = 'active' where id = 3"))
    lists = {"list all 1", *BOTH_LISTS_OF_ACTIVE, "list pending 1"}
    assert await shop.gone(shop.here) == {"user 3", "profile 3", "count", *lists}
    assert await shop.true(shop.here)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await shop.true(shop.there):
            await asyncio.sleep(0.01)
