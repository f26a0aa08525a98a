"""Rows of bytes, many at once: pieces of equal and of varying width are laid side by side without a loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Texts:
    """One text a row, as UTF-8: the first `lengths[i]` bytes of row i of `matrix` are the text."""

    matrix: Bytes
    lengths: Ints

    def __getitem__(self, rows: NDArray[np.intp] | NDArray[np.int64] | slice) -> Texts:
        return Texts(self.matrix[rows], self.lengths[rows])

    def __len__(self) -> int:
        return len(self.lengths)

    def strings(self) -> list[str]:
        """The texts as Python strings."""
        return [row[:length].tobytes().decode() for row, length in zip(self.matrix, self.lengths.tolist(), strict=True)]


# What stands in a row: the same bytes in each row, a matrix with one row each, or a text of varying length.
Piece = bytes | Bytes | Texts


def texts(values: Iterable[str]) -> Texts:
    """The values as bytes that can be picked by their numbers."""
    encoded = [value.encode() for value in values]
    lengths = np.array([len(value) for value in encoded], dtype=np.int64)
    width = int(lengths.max(initial=0))
    joined = b"".join(value.ljust(width, b"\0") for value in encoded)
    return Texts(np.frombuffer(joined, dtype=np.uint8).reshape(len(encoded), width), lengths)


def big_endian(values: NDArray[np.generic], kind: str) -> Bytes:
    """The values as network bytes, one row each; `kind` is numpy's name such as "i8"."""
    held = values.astype(f">{kind}")
    return held.view(np.uint8).reshape(len(values), held.itemsize)


def little_endian(values: NDArray[np.generic], kind: str) -> Bytes:
    """The values as little-endian bytes, one row each; `kind` is numpy's name such as "i8"."""
    held = values.astype(f"<{kind}")
    return held.view(np.uint8).reshape(len(values), held.itemsize)


def assemble(count: int, pieces: Sequence[Piece]) -> tuple[Bytes, Ints]:
    """All rows one after the other, and the length of each."""
    matrix = np.empty((count, sum(_width(piece) for piece in pieces)), dtype=np.uint8)
    mask: NDArray[np.bool_] | None = None
    lengths = np.full(count, matrix.shape[1], dtype=np.int64)
    at = 0
    for piece in pieces:
        width = _width(piece)
        place = slice(at, at + width)
        if isinstance(piece, bytes):
            matrix[:, place] = np.frombuffer(piece, dtype=np.uint8)
        elif isinstance(piece, Texts):
            mask = np.ones(matrix.shape, dtype=np.bool_) if mask is None else mask
            matrix[:, place] = piece.matrix
            mask[:, place] = np.arange(width) < piece.lengths[:, None]
            lengths += piece.lengths - width
        else:
            matrix[:, place] = piece
        at += width
    flat = matrix.reshape(-1)
    return (flat if mask is None else flat[mask.reshape(-1)]), lengths


def _width(piece: Piece) -> int:
    if isinstance(piece, bytes):
        return len(piece)
    return int((piece.matrix if isinstance(piece, Texts) else piece).shape[1])
