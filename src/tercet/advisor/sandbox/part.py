"""What of each table comes along: all of it, or a part that keeps joins alive, and the SQL that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.blocks import blocks
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tercet.advisor.catalog import Catalog, ForeignKey, Qualified

# A table that takes no more of the room than this comes whole: parts of small tables show nothing.
_SMALL_SHARE = 0.05
# All small ones together leave the large ones so much of the room.
_SMALL_TOGETHER = 0.5
# Kept free for rows that others refer to.
_MARGIN = 0.8
# Below so many pages, a sample of pages is a sample of a few places; single rows are drawn then.
_PAGES_MIN = 300
# Any number does, as long as it stays: a part is asked for more than once and must be the same each time.
_SEED = 20_240_101


@dataclass(frozen=True, slots=True)
class Link:
    """Rows of `child` are found in `parent` by these columns."""

    child: Qualified
    columns: tuple[str, ...]
    parent: Qualified
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """How one table comes along; `clause` stands behind its name in the FROM that reads it."""

    table: Qualified
    share: float = 1.0
    clause: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing of it is left out."""
        return not self.clause


def links_of(
    catalog: Catalog, tables: Collection[Qualified], joins: Iterable[tuple[Qualified, ForeignKey]] = ()
) -> tuple[Link, ...]:
    """The foreign keys among these tables, and what else is joined by a key."""
    declared = ((name, key) for name in tables for key in catalog.tables[name].foreign_keys)
    found = (
        Link(name, key.columns, key.target, key.target_columns)
        for name, key in (*declared, *joins)
        if name in tables and key.target in tables and name != key.target
    )
    return tuple(dict.fromkeys(found))


def parts(catalog: Catalog, tables: Sequence[Qualified], links: Sequence[Link], bytes_max: int) -> tuple[Part, ...]:
    """What of each table comes along within so many bytes, those first that others refer to."""
    sizes = {name: catalog.tables[name].size_bytes for name in tables}
    share = 1.0
    large: list[Qualified] = []
    if sum(sizes.values()) > bytes_max:
        large = _large(sizes, bytes_max)
        left = bytes_max - sum(size for name, size in sizes.items() if name not in large)
        share = min(1.0, _MARGIN * left / sum(sizes[name] for name in large))
    chosen = {name: Part(name) for name in tables if name not in large}
    for name in _parents_first(large, links, sizes):
        chosen[name] = _part(name, share, chosen, links, catalog)
    return tuple(chosen.values())


def _large(sizes: Mapping[Qualified, int], bytes_max: int) -> list[Qualified]:
    ordered = sorted(sizes, key=lambda name: (sizes[name], name))
    taken = 0.0
    for at, name in enumerate(ordered):
        taken += sizes[name]
        if sizes[name] > bytes_max * _SMALL_SHARE or taken > bytes_max * _SMALL_TOGETHER:
            return ordered[at:]
    return []


def _parents_first(
    large: Collection[Qualified], links: Sequence[Link], sizes: Mapping[Qualified, int]
) -> list[Qualified]:
    """An order in which what is referred to comes before what refers to it; a ring is cut at its largest table."""
    waiting = sorted(large, key=lambda name: (-sizes[name], name))
    ordered: list[Qualified] = []
    while waiting:
        free = (
            name
            for name in waiting
            if not any(link.child == name and link.parent in waiting and link.parent != name for link in links)
        )
        ordered.append(next(free, waiting[0]))
        waiting.remove(ordered[-1])
    return ordered


def _part(
    name: Qualified, share: float, chosen: Mapping[Qualified, Part], links: Sequence[Link], catalog: Catalog
) -> Part:
    """A sample of the table itself, or the rows that belong to what was taken of its largest parent."""
    parents = [link for link in links if link.child == name and link.parent in chosen and chosen[link.parent].clause]
    if not parents:
        pages = catalog.tables[name].pages
        method = "system" if pages * share >= _PAGES_MIN else "bernoulli"
        return Part(name, share, f"tablesample {method} ({share * 100:.6g}) repeatable ({_SEED})")
    link = max(parents, key=lambda one: catalog.tables[one.parent].rows)
    parent = chosen[link.parent]
    read = blocks("tercet.advisor.sandbox", "copy.sql")["rows"]
    taken = read.format(columns=columns(link.parent_columns), only="", table=identifier(link.parent))
    return Part(name, parent.share, f"where ({columns(link.columns)}) in ({taken} {parent.clause})")


def columns(names: Iterable[str]) -> str:
    """Names of columns, quoted and in a row."""
    return ", ".join(identifier(name) for name in names)
