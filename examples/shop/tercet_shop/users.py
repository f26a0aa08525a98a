"""The shop's users behind a cache: what is read, how long it is kept, and what each write makes untrue."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations when it runs
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import func, insert, select, update

from tercet_shop.errors import StatusUnknown, UserMissing
from tercet_shop.models import USER_STATUSES, User

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from tercet import Cache, Tercet
    from tercet.cache import Cached
    from tercet.cache.follow import Following

# What fits on a page of the office's list.
PAGE = 50

# The list that has users of every status.
ALL = "all"

# What a changed row may make untrue, for whoever follows the table instead of the writers.
SHAPES = {"users": ("user:{id}", f"users:{ALL}", "users:{status}", "users:count")}


class Account(msgspec.Struct, frozen=True):
    """A user as the office sees him. What is not named here is never read, and so never cached."""

    id: int
    name: str
    email: str
    status: str
    country: str


class Profile(msgspec.Struct, frozen=True):
    """A user as other users see him."""

    id: int
    name: str
    country: str
    since: datetime


class Line(msgspec.Struct, frozen=True):
    """A user in a list."""

    id: int
    name: str
    status: str


_ACCOUNT = (User.id, User.name, User.email, User.status, User.country)


class UserCacheService:
    """Users by id, their profiles, lists of them and how many are active; each read once, and dropped when it changes.

    Every write is committed first, and drops what it has made untrue then: the other way round, a reader in
    between would put the old row back. In all processes, nobody is shown the old one for longer than two seconds.
    """

    def __init__(self, db: Tercet, cache: Cache) -> None:
        self._db, self._cache = db, cache
        # Looked at on every request, and changed now and then.
        self.user: Cached[[int], Account | None] = cache(
            tags=["user:{user_id}"], layer="warm", type=Account | None, name="shop.user"
        )(self._read_user)
        self.user.bulk(self._read_users)
        # Shown to many, and hardly ever changed.
        self.profile: Cached[[int], Profile | None] = cache(
            tags=["user:{user_id}"], layer="cold", type=Profile | None, name="shop.profile"
        )(self._read_profile)
        self.listed: Cached[[str, int], list[Line]] = cache(
            tags=["users:{status}"], layer="warm", type=list[Line], name="shop.listed"
        )(self._read_list)
        # On every page of the office.
        self.active: Cached[[], int] = cache(tags=["users:count"], layer="hot", type=int, name="shop.active")(
            self._read_active
        )

    async def create(self, *, name: str, email: str, country: str, status: str = "pending") -> Account:
        """A new user; who has asked for his id before was told that there is none, and that is dropped too."""
        dropped: tuple[str, ...] = ()
        try:
            async with self._db.postgres.transaction() as connection:
                statement = insert(User).values(name=name, email=email, country=country, status=status)
                row = (await connection.execute(statement.returning(*_ACCOUNT))).one()
                made = Account(*row)
                dropped = _untrue(None, made)
        finally:
            await self._drop(dropped)
        return made

    async def update(
        self,
        user_id: int,
        *,
        name: str | None = None,
        email: str | None = None,
        status: str | None = None,
        country: str | None = None,
    ) -> Account:
        """Change what is given of a user; raises UserMissing, and then drops nothing."""
        given = {"name": name, "email": email, "status": status, "country": country}
        changes = {field: value for field, value in given.items() if value is not None}
        dropped: tuple[str, ...] = ()
        try:
            async with self._db.postgres.transaction() as connection:
                before = await _locked(connection, user_id)
                after = msgspec.structs.replace(before, **changes)
                if after != before:
                    await connection.execute(update(User).where(User.id == user_id).values(changes))
                    dropped = _untrue(before, after)
        finally:
            # Also where the commit failed half-way and nobody knows: dropping too much costs a read.
            await self._drop(dropped)
        return after

    def follow(self) -> Following:
        """Have the database tell what has become untrue, whoever has written it; `ready()` of it says from when on."""
        return self._cache.follow(self._db.changes, SHAPES)

    async def deactivate(self, user_id: int) -> Account:
        """Take a user out of the active ones."""
        return await self.update(user_id, status="inactive")

    async def _drop(self, tags: tuple[str, ...]) -> None:
        # While Redis is away this is kept and delivered later: `await cache.delivered()` waits for that.
        if tags:
            await self._cache.drop_tags(*tags)

    async def _read_user(self, user_id: int) -> Account | None:
        return (await self._read_users([user_id])).get(user_id)

    async def _read_users(self, user_ids: Sequence[int]) -> dict[int, Account]:
        async with self._db.postgres.connection() as connection:
            rows = await connection.execute(select(*_ACCOUNT).where(User.id.in_(user_ids)))
            return {row.id: Account(*row) for row in rows}

    async def _read_profile(self, user_id: int) -> Profile | None:
        wanted = select(User.id, User.name, User.country, User.created_at).where(User.id == user_id)
        async with self._db.postgres.connection() as connection:
            row = (await connection.execute(wanted)).one_or_none()
            return None if row is None else Profile(*row)

    async def _read_list(self, status: str, page: int = 1) -> list[Line]:
        if status not in (ALL, *USER_STATUSES):
            raise StatusUnknown(status, known=(ALL, *USER_STATUSES))
        wanted = select(User.id, User.name, User.status).order_by(User.id).limit(PAGE).offset(PAGE * (page - 1))
        if status != ALL:
            wanted = wanted.where(User.status == status)
        async with self._db.postgres.connection() as connection:
            return [Line(*row) for row in await connection.execute(wanted)]

    async def _read_active(self) -> int:
        async with self._db.postgres.connection() as connection:
            counted = await connection.execute(select(func.count()).where(User.status == "active"))
            return int(counted.scalar_one())


async def _locked(connection: AsyncConnection, user_id: int) -> Account:
    """A user's row, which nobody else changes before this transaction ends: what he was is then certain."""
    row = (await connection.execute(select(*_ACCOUNT).where(User.id == user_id).with_for_update())).one_or_none()
    if row is None:
        raise UserMissing(user_id)
    return Account(*row)


def _untrue(before: Account | None, after: Account) -> tuple[str, ...]:
    """The tags of all that is no longer true, and of nothing else."""
    tags = [f"user:{after.id}"]
    was: dict[str, Any] = {} if before is None else msgspec.structs.asdict(before)
    if (was.get("name"), was.get("status")) != (after.name, after.status):
        # In the lists that he is in, and in those that he was in.
        tags += [f"users:{ALL}", f"users:{after.status}"]
        if before is not None and before.status != after.status:
            tags.append(f"users:{before.status}")
    if (was.get("status") == "active") != (after.status == "active"):
        tags.append("users:count")
    return tuple(tags)
