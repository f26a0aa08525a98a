"""Uniform numbers that depend on the seed, the stream's name and the block, and on nothing else.

Only the bit generator's raw words are used: numpy keeps those the same for ever, its distributions not.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

# A double holds 53 bits of a word.
_SPARE_BITS = np.uint64(11)
_DOUBLE_STEP = 2.0**-53


def words(seed: int, stream: str, block: int, count: int) -> Words:
    """`count` random 64-bit words of one block of one stream."""
    key = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(stream.encode()), block))
    drawn = np.random.SFC64(key).random_raw(count)
    return np.asarray(drawn, dtype=np.uint64)


def uniform(seed: int, stream: str, block: int, count: int) -> Floats:
    """`count` numbers in [0, 1) of one block of one stream."""
    return (words(seed, stream, block, count) >> _SPARE_BITS).astype(np.float64) * _DOUBLE_STEP
