"""The frame around a value in Redis: its header, what makes it valid, and its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

# The first byte of every entry. Another one is another version's entry, and so a miss.
FORMAT = b"\x01"

_encoder = msgspec.msgpack.Encoder()


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A value and what makes it valid.

    It is written as an array, so later versions can append fields with defaults and still be read by this
    one.
    """

    # The shape of the value's type; see codec.
    schema: bytes
    # The whole key, where the name it lies under is only its digest; empty where the name says it all.
    key: str
    # Wall time in milliseconds: only to show an age and to shorten a stay in memory, never to judge validity.
    created_ms: int
    expires_ms: int
    # How long the loader took, in seconds: what an early refresh will want to know.
    load_seconds: float
    # The tags, and their versions as they were before the loader ran.
    tags: tuple[str, ...]
    versions: tuple[bytes, ...]
    body: bytes

    def is_current(self, versions: Mapping[str, bytes | None]) -> bool:
        """Whether every tag still has the version that it had before this value was loaded."""
        return len(self.tags) == len(self.versions) and all(
            versions.get(tag) == version for tag, version in zip(self.tags, self.versions, strict=True)
        )


_entries = msgspec.msgpack.Decoder(Entry)


def pack(entry: Entry) -> bytes:
    """The bytes that lie in Redis."""
    return FORMAT + _encoder.encode(entry)


def unpack(frame: bytes) -> Entry | None:
    """The entry in these bytes, or None where they are no entry of this format."""
    if frame[:1] != FORMAT:
        return None
    try:
        return _entries.decode(memoryview(frame)[1:])
    except (msgspec.MsgspecError, ValueError):
        return None
