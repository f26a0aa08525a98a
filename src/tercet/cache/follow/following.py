"""Following: one process of a service hears what is committed, and drops it for all; the others hear the drops."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.cache.follow.port import Followed
from tercet.cache.follow.settling import Settling
from tercet.cache.moments import Beat, Span
from tercet.cache.moments.recent import RELAY_SILENCE_SECONDS
from tercet.cache.moments.span import digest
from tercet.cache.shelf import Drop
from tercet.changes.port import MARK
from tercet.errors import NotOpen, StoreError, UsageError
from tercet.telemetry import Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tercet.cache.follow.port import Changes, Subscription
    from tercet.cache.follow.shapes import Shapes
    from tercet.cache.tiers import Tiers
    from tercet.changes.change import Change, Commit, Wants
    from tercet.telemetry.event import Outcome
    from tercet.witness import Moment, Seen

# How often a relay says that it is there, and each process looks whether it was heard.
BEAT_SECONDS = 1.0

# A durable place is told again what Redis did not take for so long: until then it was only kept in this process.
DELIVERED_SECONDS = 5.0

_DIGEST_CHARS = 12

_log = logging.getLogger("tercet.cache")


@dataclass(frozen=True, slots=True)
class Store:
    """What is asked of the store behind a feed; either may be missing."""

    # What its primary shows now: without it nothing is settled.
    sees: Callable[[], Awaitable[Seen | None]] | None = None
    # Which old values are told: without it, none that is missing counts as unchanged.
    covers: Callable[[Mapping[str, frozenset[str]]], Awaitable[Mapping[str, frozenset[str]]]] | None = None


@dataclass(frozen=True, slots=True)
class FollowingStatus:
    """How a following stands in this process."""

    name: str
    # As its subscription says: "reading" is the relay, "following" hears the relay of another process.
    state: str
    relaying: bool
    # Whether the relay has not been heard for so long that memory answers no longer than it is trusted.
    silent: bool
    # How long the last drop came after its commit, by the store's clock and the relay's; None before the first.
    lag_seconds: float | None
    # What this process has relayed: commits, tags, drops of everything; and how often it had to begin anew.
    commits: int
    tags: int
    wide: int
    resyncs: int
    # Drops whose commits the primary was not seen to show yet.
    unsettled: int


@dataclass(slots=True)
class _Counts:
    commits: int = 0
    tags: int = 0
    wide: int = 0
    resyncs: int = 0


@dataclass(slots=True)
class _Known:
    """What is known of old rows, and for which tables it was said that too little is."""

    covered: Mapping[str, frozenset[str]] | None = None
    said: set[str] = field(default_factory=set)


class Following:
    """Drops the tags of what is committed, until it is closed; a Listener of a feed.

    In each process it hears the drops, its own or another's; in the one that leads, it makes them.
    """

    def __init__(
        self,
        tiers: Tiers,
        changes: Changes,
        shapes: Shapes,
        store: Store,
        *,
        namespace: str,
        durable: str | None = None,
        strict: bool = True,
    ) -> None:
        self._tiers, self._shapes, self._store = tiers, shapes, store
        self._durable, self._strict = durable, strict
        self._alone, self._sure = tiers.near.alone, tiers.near.alone
        self._changes, self._namespace = changes, namespace
        if durable is not None and self._alone:
            raise UsageError(
                f"follow(durable={durable!r}) has no Redis, by which one process tells the others.",
                "Give the cache one, or leave durable out: then each process reads for itself.",
            )
        self.name = durable or _name(namespace, shapes, alone=self._alone)
        self._counts, self._known = _Counts(), _Known()
        self._now = tiers.clock.monotonic
        self._settling = Settling(tiers, store.sees, self._now) if store.sees is not None else None
        self._tasks: list[asyncio.Task[None]] = []
        self._silent = False
        self._read_at = self._now()
        self._lag: float | None = None
        place = None if durable else self.name
        self._subscription: Subscription = changes.subscribe(self, durable=durable, place=place)
        # Whoever writes through the same Tercet is not answered before this process has heard of it.
        self._unfollow = changes.followed_by(self) if isinstance(changes, Followed) else _nothing
        with suppress(RuntimeError):
            self._start()

    # ---- for whoever follows ----

    async def ready(self) -> None:
        """Return once changes are heard here; raises a UsageError for what the tables cannot tell, with the mend."""
        self._start()
        await self._learn(anew=True)
        await self._make_sure()
        await self._subscription.ready()
        await self._tiers.enter()

    @property
    def listening(self) -> bool:
        """Whether this process is told of commits now, by its own feed or by another's drops."""
        return not self._silent and self._subscription.status().state in {"reading", "following"}

    async def heard(self, moment: Moment, within: float) -> bool:
        """Return once this process has dropped what this commit has made old; False when not in so many seconds.

        What was being loaded meanwhile is joined by nobody who asks afterwards.
        """
        span, recent = Span.of(moment), self._tiers.near.recent
        if not await recent.whole(span, within):
            return False
        tags = recent.tags_of(span)
        if tags and len(self._tiers.flights):
            self._tiers.near.drop(Drop(tags=tags))
        return True

    def status(self) -> FollowingStatus:
        """How it stands in this process."""
        now, counts = self._subscription.status(), self._counts
        return FollowingStatus(
            name=self.name,
            state=now.state,
            relaying=now.leading,
            silent=self._silent,
            lag_seconds=self._tiers.near.recent.lags.get(self.name, self._lag),
            commits=counts.commits,
            tags=counts.tags,
            wide=counts.wide,
            resyncs=counts.resyncs,
            unsettled=len(self._settling) if self._settling is not None else 0,
        )

    async def close(self) -> None:
        """Follow no more; twice is fine. What was kept is dropped by nobody then: clear it, or let it end."""
        tasks, self._tasks = self._tasks, []
        here = [task for task in tasks if task.get_loop() is asyncio.get_running_loop()]
        for task in here:
            task.cancel()
        if here:
            await asyncio.wait(here)
        self._unfollow()
        self._tiers.near.recent.forget(self.name)
        await self._subscription.close()

    # ---- for the feed ----

    @property
    def wants(self) -> Wants:
        """The tables of the shapes with their columns, and the marks of transactions."""
        return self._shapes.wants((MARK,))

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Drop what these have made old, in one delivery; at a durable place only what Redis has taken is done."""
        self._start()
        if self._known.covered is None:
            await self._learn()
        drop = self._dropped_by(commits)
        self._lag = max(0.0, self._tiers.clock.now().timestamp() - commits[-1].at.timestamp())
        delivered = await self._tiers.drop(drop)
        if drop.moments and self._settling is not None:
            self._settling.add(drop)
        self._counts.commits += len(drop.told)
        self._counts.tags += len(drop.tags)
        self._counts.wide += drop.everything
        delivery = self._tiers.far.delivery
        if not delivered and self._durable is not None and delivery is not None:
            await delivery.delivered(DELIVERED_SECONDS)

    async def resync(self, why: str) -> None:
        """Some may have been missed, and nobody knows which tags they were of: everything is dropped."""
        self._start()
        self._known.covered = None
        moments: tuple[Span, ...] = ()
        if self._store.sees is not None:
            with suppress(StoreError):
                seen = await self._store.sees()
                if seen is not None:
                    # What was committed before and is not to be told: a replica may not show it yet.
                    moments = (Span(digest(seen.source), 0, max(0, seen.through)),)
        _log.info("what a cache keeps is dropped, as changes may have been missed: %s", why)
        drop = Drop(everything=True, moments=moments)
        await self._tiers.drop(drop)
        if moments and self._settling is not None:
            self._settling.add(drop)
        self._counts.resyncs += 1

    # ---- behind ----

    def _dropped_by(self, commits: Sequence[Commit]) -> Drop:
        tags: dict[str, None] = {}
        moments: dict[Span, None] = {}
        told: list[Span] = []
        everything = False
        for commit in commits:
            span = Span.of(commit.moment)
            if commit.last:
                told.append(span)
            for change in commit.changes:
                found = self._tags(change)
                if found is None or found:
                    moments[span] = None
                everything = everything or found is None
                tags.update(dict.fromkeys(found or ()))
        return Drop(
            tags=() if everything else tuple(tags), everything=everything, moments=tuple(moments), told=tuple(told)
        )

    def _tags(self, change: Change) -> frozenset[str] | None:
        found = self._shapes.tags(change, self._known.covered or {})
        if found is None and change.kind != "truncate" and change.name not in self._known.said:
            self._known.said.add(change.name)
            _log.warning(
                "a change of %s does not tell all columns that its tags name, so everything is dropped for it: "
                "have its old values told (tercet doctor says how), or name fewer columns",
                change.name,
            )
        return found

    async def _learn(self, *, anew: bool = False) -> None:
        """Ask which old values are told; raises a UsageError where too few are and that is to be refused."""
        if self._store.covers is None:
            if self._known.covered is None:
                _log.warning("nobody says which old values are told: a change that leaves one out drops everything")
            self._known.covered = {}
            return
        if self._known.covered is None or anew:
            self._known.covered = await self._store.covers(self._shapes.columns)
        if anew and self._strict:
            self._refuse(self._known.covered)

    def _refuse(self, covered: Mapping[str, frozenset[str]]) -> None:
        for table, columns in self._shapes.columns.items():
            if not columns:
                continue
            if table not in covered:
                raise UsageError(
                    f"follow() cannot follow {table!r}: it is not there.", "Name a table that is, or create it first."
                )
            missing = sorted(columns - covered[table])
            if missing:
                listed = ", ".join(missing)
                raise UsageError(
                    f"follow() needs the old values of {table}.{listed}, which its changes do not tell.",
                    f"Give {table} a replica identity that has {listed} (MongoDB: pre-images), or say "
                    "unsure='everything' to drop everything when one of these rows changes.",
                )

    def _start(self) -> None:
        """Begin what goes on behind, in the running loop; raises RuntimeError where there is none."""
        loop = asyncio.get_running_loop()
        if self._tasks and self._tasks[0].get_loop() is loop:
            return
        if not self._alone:
            self._tiers.near.recent.expect(self.name)
        self._read_at = self._now()
        self._tasks = [loop.create_task(self._run(), name=f"tercet-follow-{self.name}")]
        if self._settling is not None:
            self._tasks.append(loop.create_task(self._settling.run(), name=f"tercet-settle-{self.name}"))

    async def _run(self) -> None:
        while True:
            try:
                await self.tend()
            except (StoreError, NotOpen) as error:
                _log.debug("a following could not be tended (%s)", type(error).__name__)
            except Exception:  # noqa: BLE001 - logged; one that had ended would leave others without a relay
                _log.exception("a following could not be tended, and is again in a moment")
            await asyncio.sleep(BEAT_SECONDS)

    async def _make_sure(self) -> None:
        """See whether there is a Redis at all; a Tercet says so once it is asked. Without one, read for oneself."""
        if self._sure:
            return
        await self._tiers.far.drop(Drop(beat=Beat("", 0.0)))
        self._sure = True
        if self._tiers.far.shelf is None and not self._alone:
            self._alone = True
            self._tiers.near.settle_alone()
            self._tiers.near.recent.forget(self.name)
            await self._subscription.close()
            self.name = _name(self._namespace, self._shapes, alone=True)
            self._subscription = self._changes.subscribe(self, place=self.name)

    async def tend(self) -> None:
        """Say that the relay is here, where it is; and see that it is heard."""
        await self._make_sure()
        now = self._subscription.status()
        if now.state == "reading":
            self._read_at = self._now()
        recent = self._tiers.near.recent
        if self._alone:
            silent = self._read_at <= self._now() - RELAY_SILENCE_SECONDS
            if silent:
                # Nobody else would tell, so nothing is kept for longer than until the next look.
                self._tiers.near.drop(None)
        else:
            await self._tiers.enter()
            if now.leading and now.state == "reading":
                await self._tiers.far.drop(Drop(beat=Beat(self.name, self._lag or 0.0)))
            silent = self.name in recent.silent
        if silent != self._silent:
            self._silent = silent
            _log.log(
                logging.WARNING if silent else logging.INFO,
                "the relay of %s is %s",
                self.name,
                "not heard, so memory answers no longer than it is trusted" if silent else "heard again",
            )
            outcome: Outcome = "failed" if silent else "ok"
            self._tiers.telemetry.tell(Operation("cache", "relay heard", 0.0, outcome))


def _name(namespace: str, shapes: Shapes, *, alone: bool) -> str:
    """The name of an ephemeral place: one for all processes that follow the same, or one's own."""
    if alone:
        return f"cache_{secrets.token_hex(_DIGEST_CHARS // 2)}"
    told = repr((namespace, shapes.texts)).encode()
    return f"cache_{hashlib.blake2b(told).hexdigest()[:_DIGEST_CHARS]}"


def _nothing() -> None:
    """Nobody waits for it."""
