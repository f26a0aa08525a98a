"""What CREATE INDEX says, in a form in which two of them can be compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.errors import DocumentInvalid
from tercet.sql.tokens import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

_Token = tuple[str, str]
_OPEN, _CLOSE, _COMMA = ("mark", "("), ("mark", ")"), ("mark", ",")
_CAST = ("cast", "::")
_MEND = "Give what pg_get_indexdef() returns."


@dataclass(frozen=True, slots=True)
class Definition:
    """An index without its name: what a server prints and what a person wrote come to the same value.

    Case, spaces, needless quotes, the order that is meant anyway and brackets around a whole expression are
    gone. Casts of constants, which PostgreSQL adds, stay: `same` knows about them.
    """

    table: tuple[str, ...]
    method: str
    unique: bool
    keys: tuple[str, ...]
    include: tuple[str, ...] = ()
    where: str = ""
    nulls_distinct: bool = True

    @classmethod
    def read(cls, text: str) -> Definition:
        """The definition in a CREATE INDEX statement, pg_get_indexdef()'s for one. Raises DocumentInvalid."""
        return _Reader([_folded(token) for token in tokens(text) if token[0] != "comment"]).definition()

    def same(self, other: Definition) -> bool:
        """Whether both are certainly the same index; a table without a schema is in the other's schema."""
        tables = self.table[-1:] == other.table[-1:] and (1 in {len(self.table), len(other.table)})
        if not tables and self.table != other.table:
            return False
        one, two = replace(self, table=()), replace(other, table=())
        if one == two:
            return True
        # A constant without a cast takes its column's type, which PostgreSQL then prints. Where both sides
        # carry casts they must agree, for '2024-01-01'::date and ::timestamptz are different bounds.
        if one.casts and two.casts:
            return False
        return one.uncast() == two.uncast()

    @property
    def casts(self) -> bool:
        """Whether an expression or the condition casts anything."""
        return any(" :: " in f" {part} " for part in (*self.keys, self.where))

    def uncast(self) -> Definition:
        """The same without the types that are written behind constants."""
        keys = tuple(_uncast(key) for key in self.keys)
        return replace(self, keys=keys, where=_uncast(self.where))


class _Reader:
    """Reads one CREATE INDEX from its tokens, left to right."""

    def __init__(self, found: Sequence[_Token]) -> None:
        self._tokens = found
        self._at = 0

    def definition(self) -> Definition:
        self._expect("create")
        unique = self._take("unique")
        self._expect("index")
        self._take("concurrently")
        if not self._take("on"):  # an index may be unnamed
            self._name()
            self._expect("on")
        self._take("only")
        table = self._name()
        self._expect("using")
        method = self._next()[1]
        keys = tuple(_key(part) for part in _split(self._bracket()))
        include: tuple[str, ...] = ()
        if self._take("include"):
            include = tuple(_text(part) for part in _split(self._bracket()))
        nulls_distinct = True
        if self._take("nulls"):
            nulls_distinct = not self._take("not")
            self._expect("distinct")
        if self._take("with"):  # storage parameters change how full pages are, not what is found
            self._bracket()
        if self._take("tablespace"):
            self._next()
        where = _condition(self._rest()) if self._take("where") else ""
        if self._at < len(self._tokens):
            raise self._unread()
        return Definition(table, method, unique, keys, include, where, nulls_distinct)

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _next(self) -> _Token:
        token = self._peek()
        if token[0] == "end":
            raise self._unread()
        self._at += 1
        return token

    def _take(self, word: str) -> bool:
        if self._peek() != ("word", word):
            return False
        self._at += 1
        return True

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._unread()

    def _name(self) -> tuple[str, ...]:
        parts = [self._next()[1]]
        while self._peek() == ("mark", "."):
            self._at += 1
            parts.append(self._next()[1])
        return tuple(parts)

    def _bracket(self) -> Sequence[_Token]:
        if self._peek() != _OPEN:
            raise self._unread()
        end = _closing(self._tokens, self._at)
        if end is None:
            raise self._unread()
        inner = self._tokens[self._at + 1 : end]
        self._at = end + 1
        return inner

    def _rest(self) -> Sequence[_Token]:
        rest = self._tokens[self._at :]
        if not rest:
            raise self._unread()
        self._at = len(self._tokens)
        return rest

    def _unread(self) -> DocumentInvalid:
        near = " ".join(token for _, token in self._tokens[self._at : self._at + 3]) or "its end"
        return DocumentInvalid(
            "a CREATE INDEX statement", reason=f"it is not understood at {near!r}", mend=_MEND
        )


def _folded(token: _Token) -> _Token:
    """Words in lower case; a quoted name that needs no quotes as a word, for so PostgreSQL prints it."""
    kind, text = token
    if kind == "word":
        return kind, text.lower()
    if kind == "quoted" and text.startswith('"'):
        bare = text[1:-1].replace('""', '"')
        if bare == bare.lower() and bare.isidentifier() and bare.isascii():
            return "word", bare
    if kind == "operator" and text == "!=":
        return kind, "<>"
    return token


def _closing(found: Sequence[_Token], start: int) -> int | None:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for at in range(start, len(found)):
        depth += {_OPEN: 1, _CLOSE: -1}.get(found[at], 0)
        if depth == 0:
            return at
    return None


def _split(found: Sequence[_Token], joint: _Token = _COMMA) -> list[Sequence[_Token]]:
    """The parts between the commas, or other tokens, that stand in no bracket."""
    parts: list[list[_Token]] = [[]]
    depth = 0
    for token in found:
        depth += {_OPEN: 1, _CLOSE: -1}.get(token, 0)
        if token == joint and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return list(parts)


def _key(found: Sequence[_Token]) -> str:
    """A key with the order that is meant, and without brackets around it."""
    words = [text for _, text in found]
    nulls: str | None = None
    if words[-2:-1] == ["nulls"] and words[-1] in {"first", "last"}:
        nulls, words = words[-1], words[:-2]
    descending = words[-1:] == ["desc"]
    if words[-1:] in (["desc"], ["asc"]):
        words = words[:-1]
    rest = list(found[: len(words)])
    end = _closing(rest, 0) if rest[:1] == [_OPEN] else None
    if end is not None:  # an expression in brackets; behind them stand a collation or operators
        rest = [*_bare(rest[: end + 1]), *rest[end + 1 :]]
    order = f" desc nulls {nulls or 'first'}" if descending else f" asc nulls {nulls or 'last'}"
    return _text(rest) + order


def _bare(found: Sequence[_Token]) -> Sequence[_Token]:
    """The tokens without the brackets that hold all of them."""
    while found and found[0] == _OPEN and _closing(found, 0) == len(found) - 1:
        found = found[1:-1]
    return found


def _condition(found: Sequence[_Token]) -> str:
    """A condition with each part of an AND or OR in brackets of its own, as a server prints it.

    Both bind more loosely than all else but NOT, so they can be told without a parser; where the word AND may
    be another one (BETWEEN, CASE), nothing is touched.
    """
    found = _bare(found)
    if {("word", "between"), ("word", "case")} & set(found):
        return _text(found)
    for joint in ("or", "and"):
        parts = _parts(found, joint)
        if len(parts) > 1:
            return f" {joint} ".join(f"( {_condition(part)} )" for part in parts)
    if found[:1] == [("word", "not")]:
        return f"not ( {_condition(found[1:])} )"
    return _text(found)


def _parts(found: Sequence[_Token], joint: str) -> list[Sequence[_Token]]:
    """The parts between a word that stands in no bracket; brackets around some of them are opened."""
    found = _bare(found)
    parts = _split(found, ("word", joint))
    if len(parts) == 1 or (joint == "and" and len(_split(found, ("word", "or"))) > 1):
        return [found]
    return [inner for part in parts for inner in _parts(part, joint)]


def _text(found: Sequence[_Token]) -> str:
    """The tokens as one text; brackets around a single word or constant are left out."""
    kept: list[str] = []
    at = 0
    while at < len(found):
        single = at + 2 < len(found) and found[at] == _OPEN and found[at + 2] == _CLOSE
        call = at > 0 and found[at - 1][0] in {"word", "quoted"}
        if single and not call and found[at + 1][0] in {"word", "quoted", "string", "number"}:
            kept.append(found[at + 1][1])
            at += 3
            continue
        kept.append(found[at][1])
        at += 1
    return " ".join(kept)


def _uncast(text: str) -> str:
    """The text without the types behind constants: 'active'::text is 'active', (0)::numeric is 0."""
    found = list(tokens(text))
    kept: list[_Token] = []
    at = 0
    while at < len(found):
        if found[at] == _CAST and kept and kept[-1][0] in {"string", "number"}:
            at = _type_end(found, at + 1)
            continue
        kept.append(found[at])
        at += 1
    return _text(_bare(kept))


def _type_end(found: Sequence[_Token], at: int) -> int:
    """Where the name of a type ends: timestamp with time zone, numeric(12,2), text[]."""
    first = found[at][1] if at < len(found) else ""
    at += 1
    while at + 1 < len(found) and found[at] == ("mark", "."):
        at += 2
    if first in {"character", "bit"} and at < len(found) and found[at][1] == "varying":
        at += 1
    if first == "double" and at < len(found) and found[at][1] == "precision":
        at += 1
    if at < len(found) and found[at] == _OPEN:
        at = (_closing(found, at) or at) + 1
    if first in {"timestamp", "time"} and [text for _, text in found[at : at + 3]][1:] == ["time", "zone"]:
        at += 3
    while [text for _, text in found[at : at + 2]] == ["[", "]"]:
        at += 2
    return at
