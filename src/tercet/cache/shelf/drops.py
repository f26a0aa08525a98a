"""A drop as Redis is told it: everything is unlinked first, and the bus hears of it last."""

from __future__ import annotations

import secrets
import struct
from typing import TYPE_CHECKING, TypeVar

from tercet.cache.encoding.frame import unpack
from tercet.cache.moments.span import (
    BUCKET_SECONDS,
    RECORDS_EXACT,
    RECORDS_NEWEST,
    WINDOW_SECONDS,
    folded,
    words,
)
from tercet.cache.shelf.gather import every
from tercet.cache.shelf.glob import SHORTENED, Globs
from tercet.cache.shelf.layout import MARKER, messages, slot
from tercet.errors import CommandRefused
from tercet.wire import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

    from tercet.cache.moments.span import Span
    from tercet.cache.shelf.layout import Layout
    from tercet.cache.shelf.port import Drop
    from tercet.wire import Wire, Word

T = TypeVar("T")

# A drop must arrive, so it is given longer than a read before it is kept for later.
DROP_SECONDS = 0.25

# How many messages the bus keeps. A process that was away for longer than it takes to write so many forgets
# everything; at some 100 bytes each they cost Redis a few megabytes.
MESSAGES_MAX = 65_536

# A command with more keys would hold the server up for others.
KEYS_A_COMMAND = 500

# The wire sends long commands beside the short ones, and then nothing is said about which comes first: a
# lease must go before its entry.
BYTES_A_COMMAND = 16 * 1024

# Entries that are read to see their full keys, at once: they may be large.
FRAMES_A_READ = 32

# Moments are remembered with each of so many tags; of more they are remembered once, for all tags there are.
TAGS_RECORDED_MAX = 1_000

# Processes that share a bus are some thousands at most: 64 random bits tell them apart.
ORIGIN_BYTES = 8

_ANNOUNCE = Script.beside(__file__, "announce")
_DROP = Script.beside(__file__, "drop")
_SETTLE = Script.beside(__file__, "settle")


class Drops:
    """What is done to Redis for a drop.

    On one server it is one step. On several, versions go first, then leases, then entries: a load that began
    before the drop finds its lease gone or its versions changed, whenever it fills. The bus hears of it last:
    whoever forgets because of a message finds nothing old in Redis any more. A crash in between has acknowledged
    nothing.
    """

    def __init__(self, wire: Wire, layout: Layout) -> None:
        self._wire = wire
        self._layout = layout
        # Whose drops these are, on the bus.
        self.origin = secrets.token_bytes(ORIGIN_BYTES)
        # A cluster refuses one command for several slots; that is seen when it happens.
        self._by_slot = False

    async def deliver(self, drop: Drop) -> None:
        """Forget all this and tell the bus; raises a StoreError when that is not certain.

        Where everything lies on one server, and it is not too much, that is one step and one round trip.
        """
        if await self._at_once(drop):
            return
        left = await self._record(drop) if drop.moments else drop.tags
        if drop.everything:
            await self._clear()
            await self._tell(messages(drop, self.origin))
            return
        keys = self._gone(left, drop.names)
        if keys:
            await self._unlink(keys)
        if drop.patterns:
            await self._unlink_matching(Globs(drop.patterns))
        if drop:
            # Only when everything is unlinked: in a cluster the bus is on another server than most keys.
            await self._tell(messages(drop, self.origin))

    async def settle(self, tags: Sequence[str], source: bytes, through: int, spans: Sequence[Span]) -> None:
        """Mark what tags, and all of them, were dropped for, as far as the store shows it."""
        asked = [source, struct.pack(">Q", max(0, through)), *words(one for one in spans if one.source == source)]
        keys = [self._layout.moments_of_all, *map(self._layout.moments, tags)]
        for some in _chunks(keys, KEYS_A_COMMAND):
            await every(self._wire.run(_SETTLE, [key], asked, deadline=DROP_SECONDS, always=True) for key in some)

    async def mark(self) -> bytes:
        """A place in the stream from which to listen: the id of a message that says nothing."""
        return await self._tell([MARKER])

    async def tell(self, drop: Drop) -> None:
        """The bus alone, for what is no longer true but was replaced already."""
        await self._tell(messages(drop, self.origin))

    def _gone(self, tags: Sequence[str], names: Sequence[str]) -> list[bytes]:
        """The keys that go: versions first, then leases, then entries."""
        keys = [*map(self._layout.tag, tags)]
        for name in names:
            # Side by side, so that mostly one command takes both.
            keys += (self._layout.lease(name), self._layout.entry(name))
        return keys

    def _remembering(self, drop: Drop) -> list[bytes]:
        """Where it is remembered what this is dropped for: with each tag, or once for all tags there are."""
        if not drop.moments:
            return []
        if drop.everything or drop.names or drop.patterns or len(drop.tags) > TAGS_RECORDED_MAX:
            return [self._layout.moments_of_all]
        return [*map(self._layout.moments, drop.tags)]

    async def _at_once(self, drop: Drop) -> bool:
        """Do it in one step; False where it is for several servers, a walk through the keyspace, or too much."""
        if self._by_slot or drop.everything or drop.patterns or len(drop.tags) + len(drop.names) > KEYS_A_COMMAND:
            return False
        moments, gone, told = self._remembering(drop), self._gone(drop.tags, drop.names), messages(drop, self.origin)
        if not gone or sum(map(len, (*moments, *gone, *told))) > BYTES_A_COMMAND:
            return False
        try:
            await self._step(moments, gone, drop.moments, bus=told)
        except CommandRefused as error:
            self._see_cluster(error)
            return False
        return True

    async def _record(self, drop: Drop) -> tuple[str, ...]:
        """Remember what this is dropped for, before any version goes; the tags whose versions are still there.

        Whoever reads a version from after the drop reads its moments after that, and finds them.
        """
        where = self._remembering(drop)
        if where == [self._layout.moments_of_all]:
            await self._step(where, [], drop.moments)
            return drop.tags
        # What has braces of its own may have its version in another slot, and then it goes afterwards.
        apart = tuple(tag for tag in drop.tags if "{" in tag or "}" in tag)
        gone = [[] if tag in apart else [self._layout.tag(tag)] for tag in drop.tags]
        await every(self._step([one], some, drop.moments) for one, some in zip(where, gone, strict=True))
        return apart

    def _step(
        self, moments: Sequence[bytes], gone: Sequence[bytes], spans: Sequence[Span], *, bus: Sequence[bytes] = ()
    ) -> Awaitable[object]:
        """One run of the script, which is one step for everybody; see drop.lua."""
        said = words(folded(spans))
        limits = [int(WINDOW_SECONDS * 1000), RECORDS_EXACT, RECORDS_NEWEST, int(BUCKET_SECONDS * 1000)]
        keys = [*moments, *gone, *([self._layout.bus] if bus else ())]
        asked: list[Word] = [len(moments), len(gone), *limits, len(said), *said, MESSAGES_MAX, *bus]
        return self._wire.run(_DROP, keys, asked, deadline=DROP_SECONDS, always=True)

    async def _unlink(self, keys: Sequence[bytes]) -> None:
        if not self._by_slot:
            try:
                await every(self._unlinks(_short(keys)))
            except CommandRefused as error:
                self._see_cluster(error)
            else:
                return
        by_slot: dict[int, list[bytes]] = {}
        for key in keys:
            by_slot.setdefault(slot(key), []).append(key)
        for some in _chunks([*by_slot.values()], KEYS_A_COMMAND):
            await every(self._unlinks(some))

    def _see_cluster(self, error: CommandRefused) -> None:
        if error.code != "CROSSSLOT":
            raise error
        self._by_slot = True

    def _unlinks(self, groups: Iterator[Sequence[bytes]] | Sequence[Sequence[bytes]]) -> list[Awaitable[object]]:
        return [self._wire.call("UNLINK", *group, key=group[0], deadline=DROP_SECONDS, always=True) for group in groups]

    def _tell(self, told: Sequence[bytes]) -> Awaitable[bytes]:
        return self._wire.run(_ANNOUNCE, [self._layout.bus], [MESSAGES_MAX, *told], deadline=DROP_SECONDS, always=True)

    async def _clear(self) -> None:
        """All of ours but the stream and the census; leases first, so no load that began before can fill."""
        for kinds in ("lt", "e"):
            async for keys in self._wire.scan(self._layout.scan(kinds), count=KEYS_A_COMMAND):
                await self._unlink(keys)

    async def _unlink_matching(self, globs: Globs) -> None:
        """All leases that are meant, and only then entries: what was filled meanwhile is found among them."""
        async for keys in self._wire.scan(self._layout.scan("l", globs.around), count=KEYS_A_COMMAND):
            await self._unlink([key for key in keys if globs.match(self._layout.name(key))])
        async for keys in self._wire.scan(self._layout.scan("e", globs.around), count=KEYS_A_COMMAND):
            meant: list[bytes] = []
            shortened: list[bytes] = []
            for key in keys:
                name = self._layout.name(key)
                if name.startswith(SHORTENED):
                    shortened.append(key)
                elif globs.match(name):
                    meant.append(key)
            for some in _chunks(shortened, FRAMES_A_READ):
                frames = await self._wire.get_many(some, big=True)
                meant += [key for key, frame in zip(some, frames, strict=True) if _is_meant(frame, globs)]
            await self._unlink(meant)


def _is_meant(frame: bytes | None, globs: Globs) -> bool:
    """Whether a shortened entry is meant, by the key inside; one that nobody can read is no loss."""
    entry = unpack(frame) if frame is not None else None
    return entry is None or globs.match(entry.key)


def _short(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """These keys for commands that are short, in their order."""
    some: list[bytes] = []
    size = 0
    for key in keys:
        if some and (len(some) == KEYS_A_COMMAND or size + len(key) > BYTES_A_COMMAND):
            yield some
            some, size = [], 0
        some.append(key)
        size += len(key)
    if some:
        yield some


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
