"""The files of a shadow: as long as production's, with nothing in them but what the planner looks at.

The planner believes the length of a file, and of an index the first page, which holds the height of the tree or the
number of its entries. Pages are written as PostgreSQL 14 to 18 lay them out; a hole in a file takes no space.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 8192
# RELSEG_SIZE of every ordinary build: a relation's file goes on in another one after a gigabyte.
_SEGMENT_BLOCKS = 131_072

_HEADER = struct.Struct("<QHHHHHHI")
_LAYOUT_VERSION = 4
_HEADER_SIZE = _HEADER.size
_OPAQUE = struct.Struct("<IIIHH")
_OPAQUE_AT = BLOCK - _OPAQUE.size
_LEAF, _ROOT = 1, 2
# Where root, level, fastroot and fastlevel stand in a B-tree's first page, and whether equal keys share an entry.
_ROOTS = struct.Struct("<IIII")
_ROOTS_AT = _HEADER_SIZE + 8
_ALLEQUALIMAGE_AT = _HEADER_SIZE + 40
# A pivot that carries a downlink and no key: below everything.
_PIVOT = struct.Struct("<HHHH")
_PIVOT_NO_KEYS = 0x2000
_LP_NORMAL = 1

_GIN_PAGES = struct.Struct("<III4xq")
_GIN_PAGES_AT = _HEADER_SIZE + 24
_BRIN_LAST_MAP_AT = _HEADER_SIZE + 12
_BRIN_PAGES_PER_RANGE_AT = _HEADER_SIZE + 8
_U32 = struct.Struct("<I")


def btree(built: bytes, height: int) -> bytes:
    """The first pages of a B-tree of this height, made of a real one of one page: its leaf becomes the only one.

    A search goes from the root down to that leaf and finds the few rows that are there: the ends of the column.
    """
    meta = bytearray(built[:BLOCK])
    leaf = bytearray(built[BLOCK : 2 * BLOCK]) if len(built) >= 2 * BLOCK else bytearray(_empty(0, _LEAF))
    root = height + 1
    _ROOTS.pack_into(meta, _ROOTS_AT, root, height, root, height)
    _OPAQUE.pack_into(leaf, _OPAQUE_AT, 0, 0, 0, _LEAF if height else _LEAF | _ROOT, 0)
    pages = [bytes(meta), bytes(leaf)]
    pages += [_pivot(level, level, _ROOT if level == height else 0) for level in range(1, height + 1)]
    return b"".join(pages)


def deduplicates(built: bytes) -> bool:
    """Whether equal keys share an entry in this B-tree, as the server has found for its types."""
    return len(built) > _ALLEQUALIMAGE_AT and built[_ALLEQUALIMAGE_AT] != 0


def gin(built: bytes, *, pages: int, entry_pages: int, data_pages: int, entries: int) -> bytes:
    """The first pages of a GIN index that counts these."""
    meta = bytearray(built[: 2 * BLOCK])
    _GIN_PAGES.pack_into(meta, _GIN_PAGES_AT, pages, entry_pages, data_pages, entries)
    return bytes(meta)


def brin(built: bytes, *, map_pages: int) -> bytes:
    """The first page of a BRIN index whose map takes so many pages."""
    meta = bytearray(built[:BLOCK])
    _U32.pack_into(meta, _BRIN_LAST_MAP_AT, map_pages)
    return bytes(meta)


def brin_pages_per_range(built: bytes) -> int:
    """How many pages of the table one entry of this BRIN index stands for."""
    pages: int = _U32.unpack_from(built, _BRIN_PAGES_PER_RANGE_AT)[0]
    return pages


def write(path: Path, beginning: bytes, blocks: int, owner: tuple[int, int]) -> None:
    """Make the files of a relation: this beginning, and holes to the length of so many blocks."""
    blocks = max(blocks, len(beginning) // BLOCK)
    number = 0
    while True:
        here = min(blocks, _SEGMENT_BLOCKS)
        segment = path if number == 0 else path.with_name(f"{path.name}.{number}")
        with segment.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            if os.fstat(file.fileno()).st_uid != owner[0]:
                os.fchown(file.fileno(), *owner)
            if number == 0:
                file.write(beginning)
            file.truncate(here * BLOCK)
        blocks -= here
        number += 1
        # A full segment is followed by another one, if only an empty one.
        if here < _SEGMENT_BLOCKS:
            return


def _empty(level: int, flags: int, lower: int = _HEADER_SIZE, upper: int = _OPAQUE_AT) -> bytes:
    page = bytearray(BLOCK)
    _HEADER.pack_into(page, 0, 0, 0, 0, lower, upper, _OPAQUE_AT, BLOCK | _LAYOUT_VERSION, 0)
    _OPAQUE.pack_into(page, _OPAQUE_AT, 0, 0, level, flags, 0)
    return bytes(page)


def _pivot(level: int, below: int, flags: int) -> bytes:
    at = _OPAQUE_AT - _PIVOT.size
    page = bytearray(_empty(level, flags, _HEADER_SIZE + _U32.size, at))
    _U32.pack_into(page, _HEADER_SIZE, at | _LP_NORMAL << 15 | _PIVOT.size << 17)
    _PIVOT.pack_into(page, at, below >> 16, below & 0xFFFF, 0, _PIVOT.size | _PIVOT_NO_KEYS)
    return bytes(page)


def length(path: Path) -> int:
    """How many blocks a relation's files have together, as the server counts them."""
    total, number = 0, 0
    while True:
        segment = path if number == 0 else path.with_name(f"{path.name}.{number}")
        if not segment.exists():
            return total
        here = segment.stat().st_size // BLOCK
        total += here
        number += 1
        if here < _SEGMENT_BLOCKS:
            return total
