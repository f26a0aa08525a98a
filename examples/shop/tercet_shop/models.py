"""The shop's tables, with the constraints that keep them true and the indexes that its own pages need.

No index stands here for the ladder's question: rung 0 is the shop as it comes. A status is text with a
CHECK: a state is added without taking an enum type's lock, and a wrong one is refused. Money is numeric(12,
2), every moment is timestamptz, every id is a bigint that the database gives.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

USER_STATUSES = ("active", "inactive", "pending")
# The way of an order: pending, paid, shipped, completed; cancelled before it is shipped, returned after.
ORDER_STATUSES = ("pending", "paid", "shipped", "completed", "cancelled", "returned")


class Base(DeclarativeBase):
    """What all tables of the shop share: how constraints are named, and a Python type's PostgreSQL type."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # What is not annotated otherwise.
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this attribute as it stands
        int: BigInteger,
        str: Text,
        datetime: DateTime(timezone=True),
        Decimal: Numeric(12, 2),
        UUID: Uuid,
    }


def _one_of(column: str, values: tuple[str, ...], name: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=name)


class User(Base):
    """Somebody who may order; an email belongs to one user, however its letters are cased."""

    __tablename__ = "users"
    __table_args__ = (
        _one_of("status", USER_STATUSES, "status_known"),
        CheckConstraint("name <> ''", name="name_given"),
        CheckConstraint("position('@' in email) > 1", name="email_has_at"),
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country_is_iso"),
        Index("uq_users_email_lower", text("lower(email)"), unique=True),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    name: Mapped[str]
    email: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    # ISO 3166-1 alpha-2; ZZ where it is not known.
    country: Mapped[str]

    # lazy="raise": a page that forgot to say what it loads fails in its test instead of asking once per row.
    orders: Mapped[list[Order]] = relationship(back_populates="user", lazy="raise", passive_deletes="all")
    cart: Mapped[Cart | None] = relationship(back_populates="user", lazy="raise", passive_deletes=True)


class Category(Base):
    """A shelf; `slug` is its name in an address."""

    __tablename__ = "categories"
    __table_args__ = (
        CheckConstraint("name <> ''", name="name_given"),
        CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name="slug_is_plain"),
        UniqueConstraint("slug"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    name: Mapped[str]
    slug: Mapped[str]

    products: Mapped[list[Product]] = relationship(back_populates="category", lazy="raise", passive_deletes="all")


class Product(Base):
    """A thing that is sold; its price is today's, what was paid stands in the order's line."""

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("price >= 0", name="price_not_negative"),
        CheckConstraint("stock >= 0", name="stock_not_negative"),
        CheckConstraint("name <> ''", name="name_given"),
        UniqueConstraint("sku"),
        # The shelf's page, and the check when a category is deleted.
        Index(None, "category_id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("categories.id", ondelete="RESTRICT"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    stock: Mapped[int] = mapped_column(Integer, server_default="0")
    price: Mapped[Decimal]
    sku: Mapped[str]
    name: Mapped[str]

    category: Mapped[Category] = relationship(back_populates="products", lazy="raise")


class Order(Base):
    """What a user bought at one moment; an order is never deleted with its user."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("total >= 0", name="total_not_negative"),
        _one_of("status", ORDER_STATUSES, "status_known"),
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country_is_iso"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_iso"),
        # A user's last ten orders, newest first; also the check when a user is deleted.
        Index("ix_orders_user_id_created_at", "user_id", text("created_at DESC")),
        # A request that is sent twice finds its first order. Old orders have lost their key and cost
        # nothing here.
        Index(
            "uq_orders_user_id_idempotency_key",
            "user_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    idempotency_key: Mapped[UUID | None]
    total: Mapped[Decimal]
    status: Mapped[str] = mapped_column(server_default="pending")
    country: Mapped[str]
    currency: Mapped[str] = mapped_column(server_default="GBP")

    user: Mapped[User] = relationship(back_populates="orders", lazy="raise")
    items: Mapped[list[OrderItem]] = relationship(
        back_populates="order",
        lazy="raise",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="OrderItem.line",
    )


class OrderItem(Base):
    """A line of an order, with the price that was paid for one piece."""

    __tablename__ = "order_items"
    __table_args__ = (
        CheckConstraint("line > 0", name="line_positive"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("price >= 0", name="price_not_negative"),
        # How often a product was sold, and the check when a product is deleted.
        Index(None, "product_id"),
    )

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(Integer, primary_key=True)
    quantity: Mapped[int] = mapped_column(Integer)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="RESTRICT"))
    price: Mapped[Decimal]

    order: Mapped[Order] = relationship(back_populates="items", lazy="raise")
    product: Mapped[Product] = relationship(lazy="raise")


class Cart(Base):
    """What a user has not bought yet; a user has one."""

    __tablename__ = "carts"
    __table_args__ = (UniqueConstraint("user_id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())

    user: Mapped[User] = relationship(back_populates="cart", lazy="raise")
    items: Mapped[list[CartItem]] = relationship(
        back_populates="cart", lazy="raise", cascade="all, delete-orphan", passive_deletes=True
    )


class CartItem(Base):
    """A product in a cart; the same product twice is a quantity of two."""

    __tablename__ = "cart_items"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        # The check when a product is deleted.
        Index(None, "product_id"),
    )

    cart_id: Mapped[int] = mapped_column(ForeignKey("carts.id", ondelete="CASCADE"), primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    quantity: Mapped[int] = mapped_column(Integer)

    cart: Mapped[Cart] = relationship(back_populates="items", lazy="raise")
    product: Mapped[Product] = relationship(lazy="raise")


async def create_schema(connection: AsyncConnection) -> None:
    """Make all tables of the shop with their constraints and indexes; those that exist stay as they are."""
    await connection.run_sync(Base.metadata.create_all)


async def drop_schema(connection: AsyncConnection) -> None:
    """Drop all tables of the shop with everything in them; those that are not there are passed over."""
    await connection.run_sync(Base.metadata.drop_all)
