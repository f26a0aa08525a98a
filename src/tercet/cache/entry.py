"""An entry as it is asked for, as it is handed to callers, and as it lies in Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.cache.codec import Codec
    from tercet.cache.key import Key
    from tercet.cache.memory import Spot
    from tercet.cache.policy import Policy

T = TypeVar("T")

Tier = Literal["memory", "redis", "loader"]
Versions = dict[str, bytes | None]

# The first byte of every entry. Another one is another version's entry, and so a miss.
FORMAT = b"\x01"


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One value that is asked for: its key, what it depends on, its type, how long it lives."""

    key: Key
    tags: tuple[str, ...]
    codec: Codec[T]
    policy: Policy
    # Whose reads these are, for telemetry and errors; never a value.
    label: str
    spot: Spot | None = None


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A value on its way to callers: itself where nobody can change it, else its bytes, for each anew."""

    tier: Tier
    codec: Codec[T]
    value: T | None
    body: bytes | None

    def take(self) -> T:
        """A value that is the caller's own."""
        if self.body is not None:
            return self.codec.decode(self.body)
        return self.value  # type: ignore[return-value]  # no body: the value is one of T, which may be None


def held(tier: Tier, codec: Codec[T], value: T, body: bytes) -> Held[T]:
    """A value of which the bytes are known, in the form in which callers cannot spoil it for each other."""
    return Held(tier, codec, value, None) if codec.immutable else Held(tier, codec, None, body)


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

    def answers(self, ask: Ask[T]) -> bool:
        """Whether this is what was asked for: this very key, a shape that can be read, all the tags asked."""
        return self.key == ask.key.full and ask.codec.reads(self.schema) and set(ask.tags) <= set(self.tags)


_decoder = msgspec.msgpack.Decoder(Entry)
_encoder = msgspec.msgpack.Encoder()


def pack(entry: Entry) -> bytes:
    """The bytes that lie in Redis."""
    return FORMAT + _encoder.encode(entry)


def unpack(frame: bytes) -> Entry | None:
    """The entry in these bytes, or None where they are no entry of this format."""
    if frame[:1] != FORMAT:
        return None
    try:
        return _decoder.decode(memoryview(frame)[1:])
    except (msgspec.MsgspecError, ValueError):
        return None
