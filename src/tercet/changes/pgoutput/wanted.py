"""Which tables, columns and messages somebody wants, looked up by what the protocol tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.changes.change import USUAL_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tercet.changes.change import Wants

_EVERY = "*"


class Wanted:
    """Answers what of a table is wanted, and whether a message is."""

    __slots__ = ("_prefixes", "_tables")

    def __init__(self, wants: Wants) -> None:
        self._prefixes = wants.prefixes
        self._tables: dict[str, frozenset[str] | None] = {}
        for name, columns in wants.tables.items():
            short = name.removeprefix(f"{USUAL_SCHEMA}.")
            self._tables[short] = columns if short not in self._tables else _both(self._tables[short], columns)

    def columns(self, schema: str, table: str, having: Iterable[str]) -> frozenset[str] | None:
        """Those of its columns that are wanted, or None where nobody wants to hear of the table."""
        name = table if schema == USUAL_SCHEMA else f"{schema}.{table}"
        asked = [self._tables[key] for key in {_EVERY, name} if key in self._tables]
        if not asked:
            return None
        every = frozenset(having)
        return frozenset().union(*(every if some is None else some & every for some in asked))

    def message(self, prefix: str) -> bool:
        """Whether messages of this prefix are wanted."""
        return prefix.startswith(self._prefixes)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else one | other
