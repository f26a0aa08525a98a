"""The tier that processes share: values and versions on a shelf, and what to do when it is not there."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tercet.cache.encoding.codec import Undecodable
from tercet.cache.encoding.frame import Entry, pack, unpack
from tercet.cache.entry import Ask, Held, Versions, held
from tercet.errors import StoreError, StoreMissing
from tercet.telemetry import Operation, Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tercet.cache.port import Shelf
    from tercet.clock import Clock

T = TypeVar("T")

_log = logging.getLogger("tercet.cache")


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A valid value from the shelf, with what memory must know of it."""

    held: Held[T]
    tags: tuple[str, ...]
    size: int
    # Seconds until the shelf forgets it, by the clocks of two machines.
    left: float


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What the shelf said: the valid values by name, and the versions; None where it said nothing."""

    kept: dict[str, Kept[T]]
    versions: Versions | None


class Far:
    """A shelf, or none: then everything is a miss.

    Reads that fail are misses, and told; writes and drops that fail raise a StoreError.
    """

    def __init__(self, shelf: Shelf | None, *, clock: Clock, telemetry: Telemetry) -> None:
        self._shelf = shelf
        self._clock = clock
        self._telemetry = telemetry
        # The last of those who write or drop a name, by name: each waits for the one before, or an old value
        # could overtake a new one, or a drop, on another connection.
        self._last: dict[str, asyncio.Future[None]] = {}

    @property
    def there(self) -> bool:
        """Whether there is a shelf at all; it may still be out of reach."""
        return self._shelf is not None

    async def read(self, asks: Sequence[Ask[T]], watch: Callable[[Sequence[str]], None]) -> Answer[T]:
        """The values that are valid now; `watch` is told of tags before their versions are read."""
        tags = tuple(dict.fromkeys(tag for ask in asks for tag in ask.tags))
        watch(tags)
        if self._shelf is None:
            return Answer({}, None)
        try:
            frames, versions = await self._shelf.read([ask.name for ask in asks], tags)
            entries = [self._entry(ask, frame) for ask, frame in zip(asks, frames, strict=True)]
            more = tuple({tag for entry in entries if entry for tag in entry.tags if tag not in versions})
            if more:
                # Its writer gave it tags that this reader did not know.
                watch(more)
                versions |= (await self._shelf.read((), more))[1]
        except StoreMissing:
            self._shelf = None
            return Answer({}, None)
        except StoreError as error:
            self.note("read", error)
            return Answer({}, None)
        kept = {
            ask.name: one
            for ask, entry in zip(asks, entries, strict=True)
            if entry is not None and entry.is_current(versions)
            if (one := self._opened(ask, entry)) is not None
        }
        return Answer(kept, versions)

    async def versions(self, tags: Sequence[str]) -> Versions | None:
        """The versions of these tags, made where there are none; None where the shelf does not answer."""
        if self._shelf is None or not tags:
            return {}
        try:
            return await self._shelf.versions(tags)
        except StoreMissing:
            self._shelf = None
            return {}
        except StoreError as error:
            self.note("versions", error)
            return None

    async def write(
        self,
        ask: Ask[T],
        body: bytes,
        versions: Versions,
        *,
        lifetime: float,
        took: float,
        wanted: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Keep a value under versions from before it was loaded; False when one of them changed since.

        Also False, and not written, when it is no longer `wanted` as its turn comes. Raises a StoreError when
        it could not be written.
        """
        if self._shelf is None:
            return True
        created = int(self._clock.now().timestamp() * 1000)
        entry = Entry(
            schema=ask.codec.schema,
            key=ask.full,
            created_ms=created,
            fresh_ms=created + int(lifetime * 1000),
            spent_ms=created + int(lifetime * 1000),
            load_seconds=took,
            tags=ask.tags,
            versions=tuple(versions.get(tag) or b"" for tag in ask.tags),
            packing="",
            body=body,
        )
        async with self._turn((ask.name,)):
            if not wanted():
                return False
            try:
                return entry.is_current(await self._shelf.write(ask.name, pack(entry), lifetime, ask.tags))
            except StoreMissing:
                self._shelf = None
                return True

    async def drop(self, names: Sequence[str], tags: Sequence[str]) -> None:
        """Forget entries and versions, and nothing that was being written before may come after."""
        if self._shelf is None:
            return
        async with self._turn(names):
            try:
                await self._shelf.drop(names, tags)
            except StoreMissing:
                self._shelf = None

    async def close(self) -> None:
        """Give the shelf's own client back."""
        if self._shelf is not None:
            await self._shelf.close()

    @asynccontextmanager
    async def _turn(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Wait until everybody is done who came before with one of these names; all have their deadlines."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        before = {self._last[name] for name in names if name in self._last}
        self._last.update(dict.fromkeys(names, mine))

        def end(_: object = None) -> None:
            mine.set_result(None)
            for name in names:
                if self._last.get(name) is mine:
                    del self._last[name]

        try:
            if before:
                await asyncio.wait(before)
            yield
        finally:
            # Cancelled while waiting, its place is kept: who comes after waits for those before all the same.
            waiting = [one for one in before if not one.done()]
            if waiting:
                asyncio.gather(*waiting).add_done_callback(end)
            else:
                end()

    def note(self, name: str, error: BaseException | None = None) -> None:
        """Tell who listens that something out of the ordinary has happened."""
        if self._telemetry.heard:
            kind = None if error is None else type(error).__name__
            outcome: Any = "ok" if error is None else "failed"
            self._telemetry.tell(Operation("cache", name, 0.0, outcome, "redis", kind))

    def _entry(self, ask: Ask[T], frame: bytes | None) -> Entry | None:
        if frame is None:
            return None
        entry = unpack(frame)
        if entry is None:
            self.note("decode", Undecodable())
            _log.warning("an entry of %s is not readable and counts as a miss", ask.label)
            return None
        # Not another key under this digest, nor another shape of the type, nor one without a tag asked for.
        fits = entry.key == ask.full and ask.codec.reads(entry.schema) and set(ask.tags) <= set(entry.tags)
        return entry if fits else None

    def _opened(self, ask: Ask[T], entry: Entry) -> Kept[T] | None:
        try:
            value = ask.codec.decode(entry.body, key=ask.full or ask.name)
        except Undecodable as error:
            self.note("decode", error)
            _log.warning("an entry of %s is not of its type (%s) and counts as a miss", ask.label, error)
            return None
        left = entry.fresh_ms / 1000 - self._clock.now().timestamp()
        return Kept(held("redis", ask.codec, value, entry.body), entry.tags, len(entry.body), left)
