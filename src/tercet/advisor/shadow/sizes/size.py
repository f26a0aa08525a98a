"""The size of an index by its method, over the values of a Catalog."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.catalog import Column
from tercet.advisor.shadow.sizes import btree
from tercet.advisor.shadow.sizes.distinct import of_columns
from tercet.advisor.shadow.sizes.layout import PAGE, POINTER, ROOM, aligned, tuples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor.catalog import Table
    from tercet.sql import Index

# BRIN's own figures: pages of the table for each entry, and entries on a page of its map.
BRIN_RANGE_PAGES = 128
BRIN_MAP_ENTRIES = 1360
# A hash entry is 16 bytes and its pointer; a bucket page is filled to three quarters when it is made.
_HASH_ENTRY = 16 + POINTER
_HASH_FULL = int(PAGE * 0.75) // _HASH_ENTRY
_HASH_PAGE = ROOM // _HASH_ENTRY
# Up to so many buckets they double; then they grow by quarters.
_HASH_DOUBLES_TO = 512
# Pages of a GiST tree that was not sorted are two thirds full.
_GIST_FILL = 0.68
# A posting of GIN is the distance to the one before, mostly a byte or two.
_GIN_POSTING = 1.9
_GIN_ENTRY = 24


@dataclass(frozen=True, slots=True)
class Size:
    """What an index would be: its pages with the first one, and its levels above the leaves if it is a tree."""

    pages: int
    tuples: float
    height: int | None = None
    # GIN's own figures.
    entries: int = 0
    entry_pages: int = 0

    @property
    def size_bytes(self) -> int:
        """On the disk."""
        return self.pages * PAGE


def size(
    table: Table,
    index: Index,
    rows: float,
    *,
    shared: bool = True,
    expressions: Mapping[str, Column] | None = None,
    known: Mapping[frozenset[str], float] | None = None,
) -> Size:
    """How large this index of `rows` of the table's rows would be right after it was built.

    `shared` says whether its types let equal keys share an entry in a B-tree, `expressions` tells of the keys that
    are no columns by their text, `known` the distinct combinations of sets of columns as a share of the rows.
    """
    keys = [_column(table, key.of if isinstance(key.of, str) else key.of.sql, expressions) for key in index.keys]
    rows = max(rows, 0.0)
    if index.method == "btree":
        return _btree(table, index, keys, rows, shared=shared, known=known)
    if index.method == "hash":
        return _hash(of_columns(table, keys, rows, known), rows)
    if index.method == "brin":
        return _brin(table, keys)
    if index.method == "gin":
        return _gin(keys, rows)
    mean = sum(tuples(keys)) / len(tuples(keys))
    leaves = max(1, math.ceil(rows * (mean + POINTER) / (ROOM * _GIST_FILL)))
    return Size(leaves + math.ceil(leaves / 100), rows)


def _btree(
    table: Table,
    index: Index,
    keys: list[Column],
    rows: float,
    *,
    shared: bool,
    known: Mapping[frozenset[str], float] | None,
) -> Size:
    carried = [_column(table, name, None) for name in index.include]
    unique = index.unique and all(key.not_null for key in keys)
    prefixes = [of_columns(table, keys[: at + 1], rows, known) for at in range(len(keys))]
    distinct = rows if unique else prefixes[-1]
    if unique:
        prefixes[-1] = rows
    # With columns carried along no entry is ever shared.
    leaves = btree.leaf_pages([*keys, *carried], rows, distinct, shared=shared and not carried)
    height, above = btree.height(leaves, keys, prefixes, rows)
    return Size(1 + leaves + above, rows, height)


def _column(table: Table, name: str, expressions: Mapping[str, Column] | None) -> Column:
    found = table.column(name) or (expressions or {}).get(name)
    return found or Column(name, 0, "text", category="S")


def _hash(distinct: float, rows: float) -> Size:
    buckets = max(2.0, rows / _HASH_FULL)
    power = 2 ** math.ceil(math.log2(buckets))
    if power > _HASH_DOUBLES_TO:
        step = power / 8
        power = int(math.ceil(buckets / step) * step)
    each = rows / max(distinct, 1.0)
    over = distinct * max(0, math.ceil(each / _HASH_PAGE) - 1) if each > _HASH_PAGE else 0
    return Size(int(power + over) + 2, rows)


def _brin(table: Table, keys: list[Column]) -> Size:
    ranges = max(1, math.ceil(table.pages / BRIN_RANGE_PAGES))
    widths = [key.length if key.length > 0 else (key.statistics.width if key.statistics else 32) for key in keys]
    entry = aligned(8 + sum(2 * width for width in widths)) + POINTER
    return Size(1 + math.ceil(ranges / BRIN_MAP_ENTRIES) + math.ceil(ranges * entry / ROOM), float(ranges))


def _gin(keys: list[Column], rows: float) -> Size:
    """Roughly: so many elements a row as its width lets guess, and as many entries as chance leaves."""
    width = sum(key.statistics.width if key.statistics else 32 for key in keys)
    elements = max(1.0, width / 6)
    entries = max(1.0, min(rows * elements, 40_000 * elements**0.5))
    entry_pages = max(1, math.ceil(entries * _GIN_ENTRY / (ROOM * 0.7)))
    data_pages = math.ceil(rows * elements * _GIN_POSTING / ROOM)
    return Size(1 + entry_pages + data_pages, rows, None, int(entries), entry_pages)
