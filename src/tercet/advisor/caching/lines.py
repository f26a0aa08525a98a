"""The lines to paste: the cached function with its statement, and what drops its answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.advisor.caching.python_names import HOMES, camel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.caching.entry import Entry

_WORD = re.compile(r"\w+")


def lines(entry: Entry, layer: str) -> tuple[str, ...]:
    """A program's lines, with `db` (a Tercet) and `cache` (its Cache) as they are there already."""
    return (*_imports(entry), "", "", *_row(entry), "", "", *_function(entry, layer), "", "", _follow(entry))


def setup(entry: Entry) -> tuple[str, ...]:
    """The lines for a migration: what is told of changes, and of which columns the old values."""
    wanted: dict[str, list[str]] = {}
    for one in entry.followed:
        columns = wanted.setdefault(one.name, [])
        columns.extend(column for column in one.columns if column not in columns)
    tables = ", ".join(
        f"{table!r}: frozenset({{{', '.join(map(repr, columns))}}})" if columns else f"{table!r}: frozenset()"
        for table, columns in wanted.items()
    )
    return ("from tercet.changes import Wants", "", f"await db.changes.set_up(Wants({{{tables}}}))")


def _imports(entry: Entry) -> Iterator[str]:
    kinds = [kind or "Any" for _, kind in entry.columns] + [one.type for one in entry.parameters]
    words = sorted({word for kind in kinds for word in _WORD.findall(kind) if word in HOMES})
    homes: dict[str, list[str]] = {"dataclasses": ["dataclass"]}
    for word in words:
        homes.setdefault(HOMES[word], []).append(word)
    for home in sorted(homes):
        yield f"from {home} import {', '.join(sorted(homes[home]))}"


def _row(entry: Entry) -> Iterator[str]:
    yield "@dataclass(frozen=True)"
    yield f"class {camel(entry.name)}:"
    for name, kind in entry.columns:
        yield f"    {name}: {kind or 'Any'}"


def _function(entry: Entry, layer: str) -> Iterator[str]:
    tags = ", ".join(repr(tag) for tag in dict.fromkeys(one.tag for one in entry.followed))
    parameters = ", ".join(f"{one.name}: {one.type}" for one in entry.parameters)
    values = "".join(f"{one.name}, " for one in entry.parameters).strip()
    row = camel(entry.name)
    yield f"@cache(tags=[{tags}], layer={layer!r})"
    yield f"async def {entry.name}({parameters}) -> list[{row}]:"
    yield "    async with db.postgres.connection() as connection:"
    yield "        rows = await connection.exec_driver_sql("
    yield f"            {entry.sql!r},"
    if values:
        yield f"            ({values}),"
    yield "        )"
    yield f"        return [{row}(*row) for row in rows]"


def _follow(entry: Entry) -> str:
    shapes: dict[str, list[str]] = {}
    for one in entry.followed:
        shapes.setdefault(one.name, []).append(one.shape)
    written = ", ".join(
        f"{table!r}: {tags[0]!r}" if len(tags) == 1 else f"{table!r}: {tags!r}" for table, tags in shapes.items()
    )
    return f"following = cache.follow(db.changes, {{{written}}})"
