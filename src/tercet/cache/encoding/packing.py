"""Bodies made smaller: compressed where that saves something, opened within bounds."""

from __future__ import annotations

import logging
import zlib
from functools import cache
from typing import Protocol

# Below this, compression costs both sides more time than the smaller transfer gives back.
PACKED_BYTES_MIN = 4_096

# What does not save a tenth is random or compressed already, and is left as it is.
PART_SAVED_MIN = 0.1

# zlib's fastest level: the next ones cost several times as much for a few percent.
LEVEL = 1

# What one body may be when it is open. Nothing bigger is compressed here, so only a forged one would be.
OPENED_BYTES_MAX = 64 << 20

ZLIB = "zlib"
ZSTD = "zstd"

_log = logging.getLogger("tercet.cache")


class Unopenable(Exception):
    """This body is not what its header says, or too big, or needs a package that is not here."""


class Zstd(Protocol):
    """What is asked of an edge that knows zstandard."""

    def compress(self, body: bytes) -> bytes:
        """The body as a frame that says how big it will be."""
        ...

    def decompress(self, packed: bytes, most: int) -> bytes:
        """The body again; raises ValueError for what is no such frame, or bigger than `most`."""
        ...


@cache
def zstd() -> Zstd | None:
    """The edge of zstandard where that is installed; looked for once."""
    try:
        from tercet.cache.encoding import zstandard  # noqa: PLC0415 - only here is it known whether it is wanted
    except ImportError:
        return None
    return zstandard


@cache
def _tell_missing() -> None:
    """Say once, and not for every entry, what this process lacks."""
    _log.warning(
        "Entries that another process compressed with zstd count as misses here: "
        "install tercet[compression] in every process of one cache, or in none"
    )


def packed(body: bytes) -> tuple[str, bytes]:
    """How a body is best kept, and its bytes so: ("", body) where compression does not pay."""
    if not PACKED_BYTES_MIN < len(body) <= OPENED_BYTES_MAX:
        return "", body
    zstandard = zstd()
    if zstandard is None:
        packing, small = ZLIB, zlib.compress(body, LEVEL)
    else:
        packing, small = ZSTD, zstandard.compress(body)
    return (packing, small) if len(small) <= len(body) * (1 - PART_SAVED_MIN) else ("", body)


def opened(packing: str, body: bytes) -> bytes:
    """The body again; raises Unopenable."""
    if not packing:
        return body
    if packing == ZLIB:
        return _inflated(body)
    if packing != ZSTD:
        raise Unopenable(packing)
    zstandard = zstd()
    if zstandard is None:
        _tell_missing()
        raise Unopenable(packing)
    try:
        return zstandard.decompress(body, OPENED_BYTES_MAX)
    except ValueError as error:
        raise Unopenable(packing) from error


def _inflated(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        whole = inflater.decompress(body, OPENED_BYTES_MAX)
    except zlib.error as error:
        raise Unopenable(ZLIB) from error
    # Not at its end: cut short, or it would go on beyond the bound.
    if not inflater.eof or inflater.unused_data:
        raise Unopenable(ZLIB)
    return whole
