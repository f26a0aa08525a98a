"""The tier that processes share: entries on a shelf, and what to do when it is not there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tercet.cache.encoding.codec import Undecodable
from tercet.cache.encoding.frame import Entry, pack, unpack
from tercet.cache.entry import Ask, Sight
from tercet.cache.shelf import Delivery, Drop
from tercet.cache.state import EARLY_MOST, State, draw, early, state
from tercet.cache.stats import Copy
from tercet.errors import StoreError, StoreMissing
from tercet.telemetry import CacheNoted, Operation, Telemetry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.cache.shelf import Grant, Shelf, Versions
    from tercet.clock import Clock

T = TypeVar("T")

# Who waits for another process's load looks again after this long, whatever it has heard.
WAIT_SECONDS = 5.0

_NO_VERSIONS: Versions = {}

_log = logging.getLogger("tercet.cache")


class Far:
    """A shelf, or none: then everything is a miss.

    Reads and fills raise a StoreError where the shelf does not answer; drops are kept and delivered.
    """

    def __init__(self, shelf: Shelf | None, *, clock: Clock, telemetry: Telemetry) -> None:
        self.shelf = shelf
        self._wall = clock.timestamp
        self._telemetry = telemetry
        self.delivery = Delivery(shelf, clock=clock, noted=self._drops) if shelf is not None else None

    @property
    def there(self) -> bool:
        """Whether there is a shelf at all; it may still be out of reach."""
        return self.shelf is not None

    async def read(self, ask: Ask[T]) -> Sight[T] | None:
        """One entry, if it is valid now."""
        name, shelf = ask.name, self.shelf
        if shelf is None or self._covered(ask):
            return None
        try:
            if ask.tags:
                (frame,), versions = await shelf.read((name,), ask.tags)
            else:
                frame, versions = await shelf.read_one(name), _NO_VERSIONS
        except StoreMissing:
            self._none_there()
            return None
        # Which asks again whether a drop is owed: a new connection may lead to a server that has lost ours.
        return None if frame is None else await self.open(ask, frame, versions)

    async def read_many(self, asks: Sequence[Ask[T]]) -> list[Sight[T] | None]:
        """Those entries that are valid now, in one round trip, or two where one has tags that were not asked for."""
        shelf = self.shelf
        if shelf is None:
            return [None] * len(asks)
        tags = tuple(dict.fromkeys(tag for ask in asks for tag in ask.tags))
        # Before it is asked: what is delivered until the answer comes may have come after the read.
        covered = self._covered_of(asks)
        try:
            frames, versions = await shelf.read([ask.name for ask in asks], tags)
        except StoreMissing:
            self._none_there()
            return [None] * len(asks)
        # And after, as in `read`.
        covered |= self._covered_of(asks)
        entries = [
            None if frame is None or ask.name in covered else self._entry(ask, frame)
            for ask, frame in zip(asks, frames, strict=True)
        ]
        if self.owes:
            entries = [None if entry is None or self._hidden(entry) else entry for entry in entries]
        more = tuple({tag for entry in entries if entry for tag in entry.tags if tag not in versions})
        if more:
            versions |= (await shelf.read((), more))[1]
        now = self._wall()
        return [
            None if entry is None else self._sight(ask, entry, versions, now)
            for ask, entry in zip(asks, entries, strict=True)
        ]

    async def open(self, ask: Ask[T], frame: bytes, versions: Versions) -> Sight[T] | None:
        """What a frame holds for this asker, if it is valid by these versions."""
        entry = self._entry(ask, frame)
        if entry is None or self.shelf is None or self._covered(ask):
            return None
        if len(entry.tags) != len(ask.tags):
            if self._hidden(entry):
                return None
            versions = await self._all_versions(entry, versions)
        return self._sight(ask, entry, versions, self._wall())

    async def _all_versions(self, entry: Entry, versions: Versions) -> Versions:
        """The versions, with those of tags that its writer gave it and this reader did not know."""
        more = tuple(tag for tag in entry.tags if tag not in versions)
        if not more or self.shelf is None:
            return versions
        return {**versions, **(await self.shelf.read((), more))[1]}

    async def examine(self, name: str) -> tuple[Copy | None, str | None]:
        """What the shelf has under this name, in words, and who is loading it; raises a StoreError."""
        if self.shelf is None:
            return None, None
        (frame,), _ = await self.shelf.read((name,), ())
        holder = await self.shelf.holder(name)
        entry = None if frame is None else unpack(frame)
        if entry is None:
            return None, holder
        versions = (await self.shelf.read((), entry.tags))[1] if entry.tags else _NO_VERSIONS
        left = entry.fresh_ms / 1000 - self._wall()
        grace = (entry.spent_ms - entry.fresh_ms) / 1000
        current = tuple(versions.get(tag) == one for tag, one in zip(entry.tags, entry.versions, strict=True))
        found = state(left=left, grace=grace).value if all(current) else "dropped"
        created = datetime.fromtimestamp(entry.created_ms / 1000, UTC)
        size = len(frame or b"")
        copy = Copy("redis", found, left, grace, size, entry.tags, created, entry.load_seconds, current, entry.packing)
        return copy, holder

    async def lease(self, ask: Ask[Any], *, anew: bool, instead: bytes | None) -> Grant | None:
        """What is there, or leave to load; None where the shelf does not answer, and anybody may load.

        While a drop of this is on its way, what is there is as good as gone, and so is what others are loading.
        """
        if self.shelf is None:
            return None
        try:
            return await self.shelf.lease(ask.name, ask.tags, anew=anew or self._covered(ask), instead=instead)
        except StoreMissing:
            self._none_there()
            return None
        except StoreError as error:
            self.note("lease", error)
            return None

    async def renew(self, ask: Ask[Any], token: bytes) -> bool:
        """Hold on to a lease; False when it is lost. A shelf that does not answer is asked again."""
        try:
            return self.shelf is not None and await self.shelf.renew(ask.name, token)
        except StoreError as error:
            self.note("renew", error)
            return True

    async def wait(self, ask: Ask[Any], grant: Grant) -> None:
        """Wait for the process that is loading this; raises a StoreError."""
        if self.shelf is not None and grant.holder is not None:
            await self.shelf.wait(ask.name, grant.holder, WAIT_SECONDS)

    async def fill(self, ask: Ask[T], body: bytes, grant: Grant, *, lifetime: float, took: float, tell: bool) -> bool:
        """Keep what was loaded; False when it was dropped meanwhile. `tell` everybody. Raises a StoreError."""
        if self.shelf is None or grant.token is None:
            return False
        if self._covered(ask):
            # Nobody is to wait for what will not be filled.
            await self.give_back(ask, grant)
            return False
        entry = self._made(ask, body, grant.versions, lifetime=lifetime, took=took)
        whole = lifetime + ask.policy.stale
        frame = pack(entry)
        kept, versions = await self.shelf.fill(ask.name, frame, whole, ask.tags, grant.token, tell=tell)
        return kept and entry.is_current(versions)

    async def write(self, ask: Ask[T], body: bytes, *, lifetime: float) -> bool:
        """Put a value over whatever is there; False when it, or one of its tags, was dropped or written meanwhile."""
        if self.shelf is None:
            return True
        try:
            versions = await self.shelf.versions(ask.tags) if ask.tags else _NO_VERSIONS
            entry = self._made(ask, body, versions, lifetime=lifetime, took=0.0)
            whole = lifetime + ask.policy.stale
            kept, versions = await self.shelf.write(ask.name, pack(entry), whole, ask.tags)
            return kept and entry.is_current(versions)
        except StoreMissing:
            self._none_there()
            return True

    async def drop(self, drop: Drop) -> bool:
        """Forget what is no longer true; False when that is kept, and delivered later."""
        if self.delivery is None or self.shelf is None:
            return True
        try:
            return await self.delivery.deliver(drop)
        except StoreMissing:
            self._none_there()
            return True

    async def give_back(self, ask: Ask[Any], grant: Grant | None) -> None:
        """Let others load: this load has failed."""
        if self.shelf is not None and grant is not None and grant.token is not None:
            try:
                await self.shelf.release(ask.name, grant.token)
            except StoreError as error:
                self.note("release", error)

    async def close(self) -> None:
        """End what goes on behind."""
        if self.delivery is not None:
            await self.delivery.close()
        if self.shelf is not None:
            await self.shelf.close()

    def note(self, name: str, error: BaseException | None = None) -> None:
        """Tell who listens that something out of the ordinary has happened."""
        if self._telemetry.heard:
            kind = None if error is None else type(error).__name__
            outcome: Any = "ok" if error is None else "failed"
            self._telemetry.tell(Operation("cache", name, 0.0, outcome, "redis", kind))

    def noted(self, what: Literal["late fill refused", "early refresh"], label: str) -> None:
        """Tell who listens what has happened to somebody's values."""
        if self._telemetry.heard:
            self._telemetry.tell(CacheNoted(what, label))

    def _drops(self, what: Literal["drop kept", "drop delivered"], count: int) -> None:
        if self._telemetry.heard:
            self._telemetry.tell(CacheNoted(what, count=count))

    def _none_there(self) -> None:
        self.shelf = self.delivery = None

    def _covered(self, ask: Ask[Any]) -> bool:
        """Whether a drop of this is still on its way: then what the shelf says of it is not to be believed."""
        delivery = self.delivery
        return delivery is not None and not delivery.quiet and delivery.covers(ask.name, ask.tags, ask.full)

    def _covered_of(self, asks: Sequence[Ask[Any]]) -> set[str]:
        """The names of those of which a drop is still on its way."""
        return {ask.name for ask in asks if self._covered(ask)} if self.owes else set()

    @property
    def owes(self) -> bool:
        """Whether any drop is still on its way."""
        return self.delivery is not None and not self.delivery.quiet

    def _hidden(self, entry: Entry) -> bool:
        """The same for tags of an entry that its reader did not ask for.

        Asked when the entry has come, and before its versions are read: a drop that was delivered in between is
        seen in these.
        """
        delivery = self.delivery
        return delivery is not None and not delivery.quiet and delivery.covers("", entry.tags)

    def _made(self, ask: Ask[T], body: bytes, versions: Versions, *, lifetime: float, took: float) -> Entry:
        created = int(self._wall() * 1000)
        fresh = created + int(lifetime * 1000)
        return Entry(
            schema=ask.codec.schema,
            key=ask.full,
            created_ms=created,
            fresh_ms=fresh,
            spent_ms=fresh + int(ask.policy.stale * 1000),
            load_seconds=took,
            tags=ask.tags,
            versions=tuple(versions.get(tag) or b"" for tag in ask.tags),
            packing="",
            body=body,
        )

    def _entry(self, ask: Ask[T], frame: bytes) -> Entry | None:
        entry = unpack(frame)
        if entry is None:
            self.note("decode", Undecodable())
            _log.warning("an entry of %s is not readable and counts as a miss", ask.label)
            return None
        # Not another key under this digest, nor another shape of the type, nor one without a tag asked for.
        if entry.key != ask.full or not ask.codec.reads(entry.schema):
            return None
        return entry if entry.tags == ask.tags or set(ask.tags) <= set(entry.tags) else None

    def _sight(self, ask: Ask[T], entry: Entry, versions: Versions, now: float) -> Sight[T] | None:
        if entry.tags and not entry.is_current(versions):
            return None
        left = entry.fresh_ms / 1000 - now
        grace = (entry.spent_ms - entry.fresh_ms) / 1000
        rules = ask.policy
        # Far from its end no draw makes it due, and mostly it is far.
        near = left < EARLY_MOST * rules.early * entry.load_seconds
        found = state(left=left, grace=grace, early=early(entry.load_seconds, rules.early, draw()) if near else 0.0)
        if found is State.SPENT:
            return None
        try:
            value = ask.codec.decode(entry.body, key=ask.full or ask.name)
        except Undecodable as error:
            self.note("decode", error)
            _log.warning("an entry of %s is not of its type (%s) and counts as a miss", ask.label, error)
            return None
        body, codec = entry.body, ask.codec
        return Sight(
            "redis", codec, value, body, found, True, entry.tags, len(body), left, grace, entry.load_seconds, True
        )
