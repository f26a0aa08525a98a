"""What is to be done to a database, as values: each with the reason, and enough to take it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.sql import Expression

if TYPE_CHECKING:
    from tercet.sql import Index, View


@dataclass(frozen=True, slots=True)
class BuildIndex:
    """An index to build; `extensions` are made before, `comment` is put on it afterwards."""

    index: Index
    why: str
    extensions: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class RebuildIndex:
    """An index that is broken, to be built anew in its place."""

    index: Index
    why: str


@dataclass(frozen=True, slots=True)
class DropIndex:
    """An index to let go; `undo` is the statement that makes it again, as the server told it."""

    index: Index
    why: str
    undo: str


@dataclass(frozen=True, slots=True)
class MakeView:
    """A materialized view to make with its indexes; it is known again by `mark`, its own comment.

    `comment` is put on the index of its key.
    """

    view: View
    why: str
    mark: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class MakeRollup:
    """A rollup to make: its statements in their order, each a transaction of its own; see tercet.rollups' script.

    `fill` and `following` have <low>, <high> and <nulls> in them. `comment` is put on the index `key`.
    """

    name: str
    why: str
    make: str
    state: str
    served: str
    following: str
    fill: str
    finish: str
    # The table of its groups, which is analysed, and their key's index.
    place: str
    key: str
    indexes: tuple[Index, ...]
    drop: tuple[str, ...]
    comment: str = ""


@dataclass(frozen=True, slots=True)
class DropView:
    """A view or rollup to let go with all that keeps it; `undo` makes it again, as far as statements can."""

    name: str
    why: str
    drop: tuple[str, ...]
    undo: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remark:
    """What no statement can do: it is said, so that it is not lost."""

    title: str
    lines: tuple[str, ...]


Step = BuildIndex | RebuildIndex | DropIndex | MakeView | MakeRollup | DropView | Remark


def has_expression(index: Index) -> bool:
    """Whether the planner knows nothing of a key's values before the next ANALYZE."""
    return any(isinstance(key.of, Expression) for key in index.keys)


def body(index: Index) -> str:
    """What stands in CREATE INDEX behind the table's name."""
    return "using" + index.create(concurrently=False).partition(f" on {index.qualified_table} using")[2]
