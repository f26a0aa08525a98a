"""A statement known by its text alone: what it is, which tables it touches, what it shares with its like."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from tercet.errors import ExtraMissing, SqlInvalid

if TYPE_CHECKING:
    from tercet.sql.postgast import Look


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement, read by PostgreSQL's own grammar; two are equal if their texts are.

    `fingerprint` is the same for statements that differ in constants, spaces or the length of an IN list;
    `normalized` has $1, $2 … for constants. `reads` and `writes` are tables as one would type them
    ("orders", "shop.orders", '"Odd"'), without the names of WITH queries; what a view or a function
    does behind its name is not in the text and not told.

    Raises SqlInvalid for what is no statement, or more than one; ExtraMissing without postgast.
    """

    text: str
    fingerprint: str = field(init=False, compare=False)
    normalized: str = field(init=False, compare=False, repr=False)
    kind: str = field(init=False, compare=False)
    reads: tuple[str, ...] = field(init=False, compare=False)
    writes: tuple[str, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        found = _look(self.text)
        if len(found) != 1:
            what = f"{len(found)} statements where one was expected" if found else "no statement"
            raise SqlInvalid(what)
        for name, value in found[0]._asdict().items():
            object.__setattr__(self, name, value)

    @property
    def tables(self) -> tuple[str, ...]:
        """All tables that it names, the written ones first."""
        return tuple(dict.fromkeys((*self.writes, *self.reads)))

    @classmethod
    def split(cls, text: str) -> tuple[Statement, ...]:
        """The statements of a text, a file for instance; none if it holds only comments."""
        return tuple(cls(one.text) for one in _look(text))


def _look(text: str) -> tuple[Look, ...]:
    try:
        grammar = import_module("tercet.sql.postgast")
    except ImportError as error:
        raise ExtraMissing("Reading SQL", module="postgast", extra="advisor") from error
    found: tuple[Look, ...] = grammar.look(text)
    return found
