"""A shop's customers in three stores, and a router to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest_asyncio
from sqlalchemy import BigInteger
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tercet.clock import SystemClock
from tercet.router import Entity, Router, mongo, postgres, redis
from tercet.telemetry import Telemetry
from tercet.tercet import Tercet

# Both cores may be taken: nothing here is about how fast a store answers.
PATIENT = "60s"


class Base(DeclarativeBase):
    """The tables of these tests."""


class User(Base):
    """A row that every customer has."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]


class Taste(msgspec.Struct):
    """What somebody likes."""

    genre: str
    level: int = 0


class Status(msgspec.Struct):
    """What somebody does right now."""

    online: bool
    page: str = ""


class Customer(Entity, key=int):
    """A customer in three stores."""

    name: str = postgres(User.name)
    email: str | None = postgres(User.email)
    taste: Taste | None = mongo("tastes", on="user_id", key=str)
    city: str | None = mongo("tastes", on="user_id", key=str, field="address.city")
    status: Status | None = redis.hash("user:status:{key}")
    views: int = redis.counter("user:views:{key}")


class World:
    """The three stores, and what fills them."""

    customer, user, taste, status = Customer, User, Taste, Status

    def __init__(self, db: Tercet, router: Router) -> None:
        self.db, self.router = db, router

    async def add(self, *keys: int, name: str = "Ann") -> None:
        """Customers with everything."""
        async with self.db.postgres.session() as session, session.begin():
            session.add_all(User(id=key, name=f"{name} {key}", email=None) for key in keys)
        await self.db.mongo["tastes"].insert_many(
            [
                {
                    "user_id": str(key),
                    "genre": "jazz",
                    "level": key,
                    "address": {"city": "Seoul", "zip": "1"},
                    "big": "x",
                }
                for key in keys
            ]
        )
        pipe = self.db.redis.pipeline()
        for key in keys:
            pipe.hset(f"user:status:{key}", mapping={"online": "true", "page": "/home"})
            pipe.set(f"user:views:{key}", key)
        await pipe.execute()


@pytest_asyncio.fixture
async def world(postgres_url: str, mongo_url: str, redis_url: str) -> AsyncIterator[World]:
    """Empty stores."""
    patient: dict[str, Any] = {"mongo_timeout": PATIENT, "postgres_statement_timeout": PATIENT}
    async with Tercet(postgres=postgres_url, mongo=mongo_url, redis=redis_url, **patient) as db:
        async with db.postgres.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        router = Router(
            postgres=db.postgres,
            mongo=db.mongo,
            wire=db.wire,
            deadline=PATIENT,
            clock=SystemClock(),
            telemetry=Telemetry(),
        )
        yield World(db, router)
        await router.close()
