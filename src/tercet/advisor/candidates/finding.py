"""What is found about indexes that are there, or that a foreign key lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tercet.advisor.catalog import Qualified
    from tercet.sql import Index


Trouble = Literal["invalid", "duplicate", "redundant", "unused", "foreign_key"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to do about one index, with the reason and what was kept in mind.

    `index` is the one that goes, is built anew, or (foreign_key) is to be made; `instead` are the names of those
    that do its work. Whether a drop is right is proved by planning the statements without it.
    """

    kind: Trouble
    action: Literal["drop", "rebuild", "create"]
    table: Qualified
    index: Index
    why: str
    minded: tuple[str, ...] = ()
    ddl: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    # What a drop gives back; 0 where nothing is dropped.
    size_bytes: int = 0
