"""What lies where in Redis: the names of all keys of one cache, and of the messages on its bus."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from tercet.cache.moments.span import Beat, Span, folded
from tercet.cache.shelf.glob import escaped
from tercet.cache.shelf.port import Drop
from tercet.wire import checked_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The layout of what lies under the prefix; another layout gets another number and leaves this one alone.
LAYOUT = "2"

# A message with more would hold up the loop of everyone who reads it.
NAMES_A_MESSAGE = 500

# A cluster's slots; see the cluster specification.
_SLOTS = 16_384


class Layout:
    """The keys of one namespace.

    An entry and its lease have the entry's name in braces, so they lie in one slot of a cluster, where one
    script may touch both.
    """

    __slots__ = ("_entry", "_lease", "_moments", "_tag", "bus", "figures", "filled", "prefix", "told")

    def __init__(self, namespace: str) -> None:
        checked_name(namespace, "namespace", where="Cache")
        self.prefix = f"{namespace}:{LAYOUT}:"
        self._entry = f"{self.prefix}e:{{".encode()
        self._lease = f"{self.prefix}l:{{".encode()
        self._tag = f"{self.prefix}t:".encode()
        self._moments = f"{self.prefix}m:{{".encode()
        # The stream of drops, and the channel on which waiting processes hear that an entry was filled.
        self.bus = f"{self.prefix}inv".encode()
        self.filled = f"{self.prefix}filled".encode()
        # What processes say of themselves, and when each said it last; in one slot, for one script.
        self.figures = f"{self.prefix}p:{{p}}:figures".encode()
        self.told = f"{self.prefix}p:{{p}}:told".encode()

    def entry(self, name: str) -> bytes:
        """Where an entry lies."""
        try:
            # Without a word about half surrogates it takes half of the time, and hardly any name has one.
            return b"%b%b}" % (self._entry, name.encode())
        except UnicodeEncodeError:
            return self._entry + written(name) + b"}"

    def lease(self, name: str) -> bytes:
        """Where the lease on an entry lies."""
        return self._lease + written(name) + b"}"

    def tag(self, tag: str) -> bytes:
        """Where the version of a tag lies."""
        return self._tag + written(tag)

    def moments(self, tag: str) -> bytes:
        """Where it lies what a tag was dropped for lately: in its version's slot, where the tag has no braces."""
        return self._moments + self.tag(tag) + b"}"

    @property
    def moments_of_all(self) -> bytes:
        """Where it lies what all tags were dropped for."""
        return self._moments + b"}"

    def name(self, key: bytes) -> str:
        """The name in the key of an entry or a lease."""
        return read(key[len(self._entry) : -1])

    def scan(self, kinds: str, around: str = "") -> bytes:
        """A glob for keys of some kinds, all of them or those around some names."""
        inside = f"{{{around}" if around else "*"
        return written(f"{escaped(self.prefix)}[{kinds}]:{inside}")


def written(text: str) -> bytes:
    """Any text as bytes, half a surrogate pair too."""
    return text.encode("utf-8", "surrogatepass")


def read(text: bytes) -> str:
    """What `written` wrote."""
    return text.decode("utf-8", "surrogatepass")


def slot(key: bytes) -> int:
    """Which slot of a cluster a key belongs to."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % _SLOTS


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """A drop on its way; texts as bytes, as not every text of Python's is one of MessagePack's."""

    names: tuple[bytes, ...]
    tags: tuple[bytes, ...]
    patterns: tuple[bytes, ...]
    everything: bool
    # What a reader from before these does not see: it drops the same, and asks no load what it has seen.
    moments: tuple[tuple[bytes, int, int], ...] = ()
    told: tuple[tuple[bytes, int, int], ...] = ()
    beat: tuple[str, float] | None = None
    # Who says so: it has forgotten already, before and after it told others.
    origin: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Message).decode

# Nothing that is dropped: where a process begins to listen.
MARKER = _encode(_Message((), (), (), everything=False))


def messages(drop: Drop, origin: bytes = b"") -> list[bytes]:
    """A drop as messages of whoever says so, each of a bounded size; none for one of nothing."""
    moments = tuple(map(_plain, folded(drop.moments)))
    told = tuple(map(_plain, drop.told))
    beat = None if drop.beat is None else (drop.beat.name, drop.beat.lag_seconds)
    parts: list[_Message] = []
    if drop.everything:
        parts = [_Message((), (), (), everything=True, moments=moments)]
    elif len(drop.names) + len(drop.tags) + len(drop.patterns) <= NAMES_A_MESSAGE:
        names, tags, patterns = (tuple(map(written, each)) for each in (drop.names, drop.tags, drop.patterns))
        if drop:
            parts = [_Message(names, tags, patterns, everything=False, moments=moments)]
    else:
        parts = [_Message(some, (), (), everything=False, moments=moments) for some in _some(drop.names)]
        parts += [_Message((), some, (), everything=False, moments=moments) for some in _some(drop.tags)]
        parts += [_Message((), (), some, everything=False, moments=moments) for some in _some(drop.patterns)]
    if parts and len(told) <= NAMES_A_MESSAGE and (len(parts) == 1 or not told):
        parts[-1] = replace(parts[-1], told=told, beat=beat)
    else:
        # Last: a commit is whole once all of it was told.
        parts += [
            _Message((), (), (), everything=False, told=told[start : start + NAMES_A_MESSAGE])
            for start in range(0, len(told), NAMES_A_MESSAGE)
        ]
    return [_encode(replace(one, origin=origin)) for one in parts]


def _plain(span: Span) -> tuple[bytes, int, int]:
    return span.source, span.first, span.last


def message(payload: bytes) -> Drop | None:
    """The drop in a message; None where it is none that we know how to read."""
    try:
        found = _decode(payload)
        return Drop(
            tuple(map(read, found.names)),
            tuple(map(read, found.tags)),
            tuple(map(read, found.patterns)),
            found.everything,
            tuple(Span(*one) for one in found.moments),
            tuple(Span(*one) for one in found.told),
            None if found.beat is None else Beat(*found.beat),
            found.origin,
        )
    except (msgspec.MsgspecError, ValueError):
        return None


def _some(texts: Iterable[str]) -> Iterator[tuple[bytes, ...]]:
    every = tuple(map(written, texts))
    for start in range(0, len(every), NAMES_A_MESSAGE):
        yield every[start : start + NAMES_A_MESSAGE]
