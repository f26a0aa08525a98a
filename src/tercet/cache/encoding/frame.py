"""The frame around a value in Redis: its header, what makes it valid, and its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from tercet.cache.encoding.packing import PACKED_BYTES_MIN, Unopenable, opened, packed

if TYPE_CHECKING:
    from collections.abc import Mapping

# The first element of every entry. Another one is another version's entry, and so a miss.
FORMAT = 2


class Entry(msgspec.Struct, frozen=True, array_like=True, tag=FORMAT, gc=False):
    """A value and what makes it valid.

    It is written as an array, so later versions can append fields with defaults and still be read by this
    one.
    """

    # The shape of the value's type; see codec.
    schema: bytes
    # The whole key, where the name it lies under is only its digest; empty where the name says it all.
    key: str
    # Wall time in milliseconds: to show an age, to know a stale value, to shorten a stay in memory. Never to
    # judge whether a value is still true, which only the versions do.
    created_ms: int
    # From here on it is stale: served only while a new one is loaded, or when none can be.
    fresh_ms: int
    # From here on it is not served at all; Redis forgets it by itself at this moment.
    spent_ms: int
    # How long the loader took, in seconds: the delta of XFetch, by which a value is refreshed early.
    load_seconds: float
    # The tags, and their versions as they were before the loader ran.
    tags: tuple[str, ...]
    versions: tuple[bytes, ...]
    # How the body lay in Redis: "" as it is, or compressed, "zlib" or "zstd". The body of an entry that was
    # unpacked is open already.
    packing: str
    body: bytes

    def is_current(self, versions: Mapping[str, bytes | None]) -> bool:
        """Whether every tag still has the version that it had before this value was loaded."""
        mine = self.versions
        if len(mine) != len(self.tags):
            return False
        place = 0
        # Run for every read: counted by hand it takes half of the time that zip or map takes.
        for tag in self.tags:
            if versions.get(tag) != mine[place]:
                return False
            place += 1  # noqa: SIM113 - see above
        return True


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def pack(entry: Entry) -> bytes:
    """The bytes that lie in Redis; a big body is compressed where that saves something."""
    if entry.packing or len(entry.body) > PACKED_BYTES_MIN:
        packing, body = packed(entry.body)
        entry = replace(entry, packing=packing, body=body)
    return _encode(entry)


def unpack(frame: bytes) -> Entry | None:
    """The entry in these bytes, its body open, or None where they are no entry that this process can read."""
    try:
        entry = _decode(frame)
        return replace(entry, body=opened(entry.packing, entry.body)) if entry.packing else entry
    except (msgspec.MsgspecError, ValueError, Unopenable):
        return None
