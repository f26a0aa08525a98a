"""Shapes: which tags a row has made old, by substituting what is known of it before and after."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tercet.cache.encoding.tags import Template, parse
from tercet.changes.change import USUAL_SCHEMA, Wants
from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tercet.changes.change import Change, Row

# A change of a table drops so many tags at most, twice: as it was and as it is.
TEMPLATES_MAX = 32

_LACKING = object()


class Shapes:
    """Tables, and for each the templates of the tags that depend on its rows.

    It remembers nothing of any row. What cannot be named exactly is for the caller to drop more widely.
    """

    def __init__(self, shapes: Mapping[str, str | Iterable[str]]) -> None:
        given: object = shapes
        if not isinstance(given, Mapping) or not given:
            raise UsageError(
                "follow() was given no shapes.",
                "Name each table and its tags: follow(changes, {'users': 'user:{id}'}).",
            )
        self._templates: dict[str, tuple[Template, ...]] = {}
        for table, texts in given.items():
            self._templates[_named(table)] = _parsed(table, texts)

    @property
    def columns(self) -> dict[str, frozenset[str]]:
        """The columns that the templates of each table name."""
        return {
            table: frozenset(name.partition(".")[0] for one in some for name in _names(one))
            for table, some in self._templates.items()
        }

    @property
    def texts(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The tables and their templates as they were given, in an order of their own."""
        return tuple(
            sorted((table, tuple(sorted(one.text for one in some))) for table, some in self._templates.items())
        )

    def wants(self, prefixes: tuple[str, ...]) -> Wants:
        """What a feed is to tell: these columns, and messages that begin so."""
        return Wants(dict(self.columns), prefixes)

    def tags(self, change: Change, covered: Mapping[str, frozenset[str]]) -> frozenset[str] | None:
        """The tags that this change has made old; None where these cannot be named, and all may be.

        `covered` are the columns whose old values are told where they have changed: what is not told of them is
        what it is now.
        """
        table = change.name if change.name in self._templates else change.table
        found: set[str] = set()
        for template in self._templates.get(table, ()):
            names = _names(template)
            if change.kind == "truncate" and names:
                return None
            for values in _values(change, names, covered.get(table, frozenset())):
                if values is None:
                    return None
                try:
                    found.add(template.fill(values))
                except UsageError:
                    # A value that is none of a tag's, such as a list.
                    return None
        return frozenset(found)


def _values(change: Change, names: tuple[str, ...], covered: frozenset[str]) -> list[dict[str, object] | None]:
    """What stands in the places of a template: of the row as it was, and as it is; None is not known."""
    if not names:
        return [{}]
    if change.kind == "insert":
        return [_of(names, lambda name: _in(change.new, name))]
    if change.kind == "delete":
        return [_of(names, lambda name: _in(change.old, name))]

    def after(name: str) -> object:
        value = _in(change.new, name)
        # PostgreSQL does not send a large value again that has not changed.
        return _in(change.old, name) if value is _LACKING else value

    def before(name: str) -> object:
        if change.old or name.partition(".")[0] not in covered:
            return _in(change.old, name)
        # None of what is told of old rows has changed.
        return _in(change.new, name)

    return [_of(names, before), _of(names, after)]


def _of(names: tuple[str, ...], find: Callable[[str], object]) -> dict[str, object] | None:
    values = {name: find(name) for name in names}
    return None if any(value is _LACKING for value in values.values()) else values


def _in(row: Row, name: str) -> object:
    """A value of a row, also one that lies within another ("address.city")."""
    if name in row:
        return row[name]
    value: object = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _LACKING
        value = value[part]
    return value


def _names(template: Template) -> tuple[str, ...]:
    return tuple(part.name for part in template.parts if not isinstance(part, str))


def _named(table: object) -> str:
    if not isinstance(table, str) or not table or "*" in table or table.startswith(".") or table.endswith("."):
        raise UsageError(f"follow() cannot follow {table!r}.", "Name a table: 'orders', or 'sales.orders'.")
    schema, dot, name = table.partition(".")
    return name if dot and schema == USUAL_SCHEMA else table


def _parsed(table: str, given: object) -> tuple[Template, ...]:
    texts: tuple[object, ...] = ()
    if isinstance(given, str):
        texts = (given,)
    elif isinstance(given, list | tuple | set | frozenset):
        texts = tuple(given)
    if not texts or len(texts) > TEMPLATES_MAX:
        raise UsageError(
            f"follow() has {len(texts) or 'no'} tags for {table!r}.",
            f"Give it between one and {TEMPLATES_MAX}, such as 'user:{{id}}'.",
        )
    return tuple(_template(table, text) for text in texts)


def _template(table: str, text: object) -> Template:
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(text)] if isinstance(text, str) else []
    except ValueError:
        # Which is said better where it is parsed.
        fields = []
    columns = [field for field in fields if field is not None]
    for column in columns:
        if not column or column.isdigit() or not all(part.isidentifier() for part in column.split(".")):
            raise UsageError(
                f"The tag {text!r} of {table!r} has {{{column}}}, which is no column.",
                "Name the column whose value stands there: 'user:{id}'.",
            )
    return parse(text, function="follow", parameters=tuple(columns))
