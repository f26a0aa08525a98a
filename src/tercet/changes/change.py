"""A change, and the commit that made it: what every feed tells, whatever it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - a Struct's annotations are read while it runs
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec

from tercet.witness import Moment  # noqa: TC001 - as above

Kind = Literal["insert", "update", "delete", "truncate"]

Row: TypeAlias = Mapping[str, object]

# Where a feed is, opaque: PostgreSQL's log position as a number, MongoDB's resume token as text.
Position: TypeAlias = int | str

# What a change knows nothing of.
NOTHING: Row = MappingProxyType({})

# The schema that PostgreSQL's names are looked for in when they name none.
USUAL_SCHEMA = "public"


class Change(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One row or document that is other than before; a truncate is one change of a whole table."""

    kind: Kind
    # PostgreSQL's schema, or MongoDB's database.
    schema: str
    # The table, or the collection; a partition's changes are told as its root's.
    table: str
    # What is known of it afterwards, by column: a value that PostgreSQL did not send again (TOAST, unchanged) is
    # left out, and so is a column that nobody wants. Nothing for a delete or a truncate.
    new: Row = NOTHING
    # What is known of it before: PostgreSQL tells what the replica identity covers, and only where that has changed
    # or the row is gone. MongoDB tells what pre-images were asked for, or the key of what is gone.
    old: Row = NOTHING

    @property
    def name(self) -> str:
        """The table as people write it: with its schema where that is not the usual one."""
        return self.table if self.schema == USUAL_SCHEMA else f"{self.schema}.{self.table}"


class Message(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What a transaction has said beside its rows (pg_logical_emit_message): told if it commits, and only then."""

    prefix: str
    content: bytes


class Commit(msgspec.Struct, frozen=True, eq=False):
    """What one transaction has changed, or a part of it where it is large; its parts come one after the other."""

    moment: Moment
    # Where to go on from once this was taken care of.
    position: Position
    # When it was committed, by the server's clock.
    at: datetime
    changes: tuple[Change, ...] = ()
    messages: tuple[Message, ...] = ()
    # Whether nothing more of this transaction comes.
    last: bool = True


@dataclass(frozen=True, slots=True)
class Wants:
    """What a listener is told of; a feed reads no more than that from its server, where it can."""

    # The columns wanted of each table ("orders", "sales.orders"), or None for all of them; "*" is every table.
    tables: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    # The beginnings of the messages wanted.
    prefixes: tuple[str, ...] = ()
