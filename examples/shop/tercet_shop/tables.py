"""The shop's rows as columns of numbers, a block at a time, whoever they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from tercet_shop.assemble import Bytes, Ints, Texts, assemble

if TYPE_CHECKING:
    from datetime import datetime

# Rows made, encoded and sent at once. Small enough that a block with all its order lines stays under 50 MB,
# large enough that numpy's calls cost nothing beside the rows. Random numbers are drawn by block: another
# size is other data.
BLOCK = 16_384

# A text a row, put together from these parts.
Parts = tuple[Texts | bytes, ...]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded shop was made from; two shops with equal facts hold the same rows."""

    # Raised whenever the same arguments give other rows or another schema than before.
    version: int
    origin: str
    seed: int
    users: int
    orders: int
    lined_orders: int


@dataclass(frozen=True, slots=True)
class Users:
    """Users; moments are whole seconds since 1970, countries two letters a row."""

    id: Ints
    created: Ints
    updated: Ints
    status: Texts
    country: Bytes
    name: Parts
    email: Parts


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All categories and products; `category` counts the names from 1, as the database does."""

    category_names: tuple[str, ...]
    category: Ints
    created: Ints
    stock: Ints
    pence: Ints
    sku: Texts
    name: Texts


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders in the order of their ids, which is that of their moments."""

    id: Ints
    user: Ints
    created: Ints
    updated: Ints
    pence: Ints
    status: Texts
    country: Bytes


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of orders, sorted by order and number; `pence` is the price of one piece, `product` an id."""

    order: Ints
    line: Ints
    quantity: Ints
    product: Ints
    pence: Ints


def no_lines() -> Lines:
    """No lines at all."""
    none = np.zeros(0, dtype=np.int64)
    return Lines(none, none, none, none, none)


class Source(Protocol):
    """Where a shop's rows come from; each block can be asked for alone, and is the same each time."""

    @property
    def facts(self) -> Facts:
        """What the rows are made from."""
        ...

    @property
    def since(self) -> datetime:
        """From when on a user counts as new in the ladder's question."""
        ...

    def catalogue(self) -> Catalogue:
        """All categories and products."""
        ...

    def users(self, block: int) -> Users:
        """The users of one block."""
        ...

    def orders(self, block: int) -> Orders:
        """The orders of one block."""
        ...

    def lines(self, block: int) -> Lines:
        """The lines of one block's orders, as far as they are written; it may have none."""
        ...


def blocks(count: int) -> range:
    """The numbers of the blocks that `count` rows fill."""
    return range(-(-count // BLOCK))


def indexes(block: int, count: int) -> Ints:
    """The numbers of a block's rows, counted from 0, where there are `count` in all."""
    return np.arange(block * BLOCK, min((block + 1) * BLOCK, count), dtype=np.int64)


def read_facts(held: object) -> Facts | None:
    """The facts that a store holds; None when they are of another time and say something else."""
    try:
        return msgspec.convert(held, Facts)
    except msgspec.ValidationError:
        return None


def spelled(count: int, parts: Parts) -> list[str]:
    """The texts that these parts make."""
    flat, lengths = assemble(count, parts)
    ends = lengths.cumsum().tolist()
    joined = flat.tobytes()
    return [joined[end - length : end].decode() for end, length in zip(ends, lengths.tolist(), strict=True)]
