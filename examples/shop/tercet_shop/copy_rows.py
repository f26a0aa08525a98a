"""PostgreSQL's binary COPY format, as the pieces of `assemble`.

"Each tuple begins with a 16-bit integer count of the number of fields"; a field is a 32-bit length and its
bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tercet_shop.assemble import Bytes, Ints, Piece, Texts, assemble, big_endian

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Signature, no flags, no header extension.
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)

# PostgreSQL counts from 2000-01-01, Unix from 1970-01-01.
_POSTGRES_EPOCH = 946_684_800
_MICROSECONDS = 1_000_000

# numeric is groups of four decimal digits. Four of them hold every numeric(12, 2): 8 + 4 before the point,
# and 2 behind it. Leading groups of zero are allowed: the server strips them when it reads.
_NUMERIC_HEAD = struct.pack("!ihhhh", 16, 4, 2, 0, 2)
_GROUP = 10_000

Field = Sequence[Piece]


def bigint(values: NDArray[np.generic]) -> Field:
    """A bigint a row."""
    return (_length(8), big_endian(values, "i8"))


def integer(values: NDArray[np.generic]) -> Field:
    """An integer a row."""
    return (_length(4), big_endian(values, "i4"))


def timestamptz(seconds: NDArray[np.int64]) -> Field:
    """A moment a row, from seconds since 1970."""
    return (_length(8), big_endian((seconds - _POSTGRES_EPOCH) * _MICROSECONDS, "i8"))


def money(pence: NDArray[np.int64]) -> Field:
    """A numeric(12, 2) a row, from whole pence that are not negative."""
    pounds = pence // 100
    groups = np.empty((len(pence), 4), dtype=">i2")
    groups[:, 0] = pounds // (_GROUP * _GROUP)
    groups[:, 1] = pounds // _GROUP % _GROUP
    groups[:, 2] = pounds % _GROUP
    groups[:, 3] = pence % 100 * 100
    return (_NUMERIC_HEAD, groups.view(np.uint8).reshape(len(pence), 8))


def text(*parts: Texts | bytes) -> Field:
    """A text a row, put together from parts."""
    fixed = sum(len(part) for part in parts if isinstance(part, bytes))
    varying = [part.lengths for part in parts if isinstance(part, Texts)]
    if not varying:
        return (_length(fixed), *parts)
    total: Ints = np.sum(varying, axis=0) + fixed
    return (big_endian(total, "i4"), *parts)


def letters(matrix: Bytes) -> Field:
    """A text a row, all of one length."""
    return (_length(matrix.shape[1]), matrix)


def rows(count: int, fields: Sequence[Field]) -> bytes:
    """`count` tuples of these fields; HEADER before all and TRAILER after make a COPY of them."""
    pieces: list[Piece] = [struct.pack("!h", len(fields))]
    for field in fields:
        for piece in field:
            if isinstance(piece, bytes) and isinstance(pieces[-1], bytes):
                pieces[-1] += piece
            else:
                pieces.append(piece)
    return assemble(count, pieces)[0].tobytes()


def _length(width: int) -> bytes:
    return struct.pack("!i", width)
