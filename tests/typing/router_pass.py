"""What a type checker must let pass of entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tercet.router import (
    Edit,
    Entity,
    Failed,
    Finding,
    Loaded,
    Missing,
    Outcomes,
    Recorded,
    Router,
    mongo,
    postgres,
    redis,
)

if TYPE_CHECKING:
    from tercet.router.port import EntityTransaction


class Base(DeclarativeBase):
    """The tables of a program."""


class User(Base):
    """A row."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Customer(Entity, key=int):
    """An entity."""

    name: str = postgres(User.name)
    city: str | None = mongo("tastes", on="user_id", key=str, field="city")
    labels: set[str] = redis.set_members("labels:{key}")


async def main(router: Router, tx: EntityTransaction) -> None:
    """Every way in which a program uses it."""
    customer = await router.load(Customer, 42, deadline="50ms")
    assert_type(customer, Customer)
    assert_type(customer.name, str)
    assert_type(customer.city, str | None)
    assert_type(customer.labels, set[str])
    assert_type(customer.meta.degraded, bool)
    assert_type(await router.find(Customer, "42"), Customer | None)
    many = await router.load_many(Customer, [1, 2, 3])
    assert_type(many, Outcomes[Customer])
    assert_type(many.entities, list[Customer])
    for one in many:
        match one:
            case Loaded(entity=entity):
                assert_type(entity, Customer)
            case Missing(source=source):
                assert_type(source, str)
            case Failed(error=error):
                assert_type(error, Exception)
    made = Customer(key=1, name="Ann", labels=set())
    assert_type(made.name, str)
    edit = Customer.edit(42, name="Ann")
    assert_type(edit, Edit)
    await router.save(edit, tx=tx)
    await router.save(made, tx=tx)
    assert_type(await router.save_activity(42, "page_view", {"page": "/"}), Recorded)
    assert_type(await router.check(Customer), tuple[Finding, ...])
    assert_type(Customer.tags(42), tuple[str, ...])
