"""The relay: events from the log, from the table and from where they were parked, to those who consume them.

Whatever comes is tried at once. What fails, and what stands behind it, is parked in PostgreSQL, and tried again
from there; so nothing holds up the log, and a process that dies has nothing in its memory that is not elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from typing import TYPE_CHECKING

from tercet.changes.change import Wants
from tercet.changes.feeding.place import NO_SLOT
from tercet.changes.outbox.delivery import Work
from tercet.changes.outbox.event import Catalogue, Unreadable, unwrap
from tercet.changes.outbox.lanes import Lane, Runner, lanes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.changes.change import Commit
    from tercet.changes.outbox.consumer import Consumer
    from tercet.changes.outbox.event import Envelope
    from tercet.changes.outbox.port import Book

# Events that are worked on together: more would only wait in memory.
PORTION = 1_000

# How long the place in the log, or a portion of the table, is held back for handlers. What takes longer is parked
# meanwhile and goes on.
HOLD_SECONDS = 2.0

# What is ours while we work on it; renewed three times meanwhile, so that it ends only with its process.
LEASE_SECONDS = 30.0

# A PostgreSQL that restarts is back within these; without them, what was handled while it was away would be handled
# again when its lease ends.
SETTLE_AGAIN_SECONDS = (0.2, 1.0, 3.0, 5.0)

# Lanes out of those parked that one process walks at once.
LANES_MAX = 64

# How often consumers tell of themselves, so that nobody takes them for gone.
ENROL_SECONDS = 5.0

_log = logging.getLogger("tercet.outbox")


class Relay:
    """Listens to commits and hands on what they have said; returns from `hear` when all of it is safe."""

    def __init__(
        self,
        book: Book,
        runner: Runner,
        catalogue: Catalogue,
        consumers: Mapping[str, Consumer],
        *,
        prefix: str,
        keep: bool = False,
        hold: float = HOLD_SECONDS,
        lease: float = LEASE_SECONDS,
    ) -> None:
        self._book, self._runner, self._catalogue, self._consumers = book, runner, catalogue, consumers
        self._prefix, self._keep, self._hold, self._lease = prefix, keep, hold, lease
        # How long to wait before what could not be settled is settled again.
        self.patience: tuple[float, ...] = SETTLE_AGAIN_SECONDS
        # Who consumes what in other processes, by the names of the types.
        self._elsewhere: Mapping[str, Sequence[str]] = {}
        self._walking: set[asyncio.Task[None]] = set()
        # Lanes that are walked right now, and whether they are to begin nothing more.
        self._paths: set[Lane] = set()
        self._closing = False
        # Whether this process was ever told something of the log.
        self._told = False
        # The claims that tasks of ours still work on.
        self._held: dict[str, int] = {}
        # Set one by one, each when what was given to `take` is safe.
        self.taking: set[asyncio.Future[None]] = set()

    # ---- as a listener

    @property
    def wants(self) -> Wants:
        """The messages of this outbox, and no row."""
        return Wants(prefixes=(self._prefix,))

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Handle what these have said; what is not handled when it returns is parked or dead, in PostgreSQL."""
        self._told = True
        said = [one.content for commit in commits for one in commit.messages if one.prefix == self._prefix]
        for start in range(0, len(said), PORTION):
            await self.take(said[start : start + PORTION])

    async def resync(self, why: str) -> None:
        """What the log had and was not handed on is gone; it is said, for nobody can bring it back."""
        # A place that is new has lost nothing: what is said without a slot goes into the table.
        new = why == NO_SLOT and not self._told
        _log.log(
            logging.INFO if new else logging.WARNING,
            "The outbox's place in the log begins anew (%s): what was said into the log before, and not heard, is lost",
            why,
        )

    # ---- what has come

    async def take(self, contents: Sequence[bytes]) -> None:
        """Try these in order of their keys; when it returns, each is handled, dead, or parked.

        Raises what PostgreSQL raises where they could not be parked: then they are to be given again.
        """
        safe: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.taking.add(safe)
        try:
            await self._take(contents)
        finally:
            self.taking.discard(safe)
            safe.set_result(None)

    async def _take(self, contents: Sequence[bytes]) -> None:
        works, envelopes = self._works(contents)
        if self._keep and envelopes:
            await self._book.keep(envelopes)
        if not contents:
            return
        barred, dead, new = await self._book.barred(works, self._elsewhere)
        if new:
            # Whoever has come since we last asked is to have what was emitted after that.
            self._elsewhere = {**self._elsewhere, **new}
            works, _ = self._works(contents)
            barred, dead, _ = await self._book.barred(works, self._elsewhere)
        # What died before and comes again, after a crash, stays dead.
        works = [one for one in works if (one.consumer, one.id) not in dead]
        ours = [one for one in works if one.consumer in self._consumers and one.lane not in barred]
        await self._through(works, lanes(ours))

    async def _through(self, works: Sequence[Work], paths: Sequence[Lane]) -> None:
        """Walk these lanes for as long as may be, then park whatever of the works is not done."""
        kept = asyncio.Event()
        token = str(uuid.uuid4())
        tasks = [asyncio.create_task(self._tried(path, kept, token)) for path in paths]
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=self._hold)
            for path in paths:
                path.stopped = True
            for one in works:
                one.leased = one.state == "running"
            left = [one for one in works if one.state != "done"]
            if left:
                await self._book.park(left, token, self._lease)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        kept.set()
        self._follow([self._holding(task, token) for task in tasks if not task.done()])

    def _holding(self, task: asyncio.Task[None], token: str) -> asyncio.Task[None]:
        """The task, for as long as which this claim is renewed."""
        self._held[token] = self._held.get(token, 0) + 1
        task.add_done_callback(lambda _: self._drop(token))
        return task

    async def _tried(self, path: Lane, kept: asyncio.Event, token: str) -> None:
        """Walk a lane; what was still running when the others were parked is settled afterwards."""
        await self._walk(path)
        late = [one for one in path.works if one.leased]
        if late:
            await kept.wait()
            await self._settle([one for one in path.works if one.leased], token)

    def _works(self, contents: Sequence[bytes]) -> tuple[list[Work], list[tuple[Envelope, bytes]]]:
        """A work for each event and consumer; for what nobody can read, one that is dead."""
        works: list[Work] = []
        envelopes: list[tuple[Envelope, bytes]] = []
        for content in contents:
            try:
                envelope = unwrap(content)
            except Unreadable as why:
                # Named after what it is, so that it is one dead letter however often it comes.
                name = str(uuid.UUID(bytes=hashlib.blake2b(content, digest_size=16).digest()))
                work = Work(name, "", "", name, content)
                work.undelivered(why)
                works.append(work)
                continue
            envelopes.append((envelope, content))
            names = self._consumers_of(envelope.type)
            works += (Work(envelope.id, one, envelope.type, envelope.key, content) for one in names)
            if not names and not self._catalogue.knows(envelope.type):
                work = Work(envelope.id, "", envelope.type, envelope.key, content)
                work.undelivered(Unreadable(f"nobody knows the type {envelope.type!r}"))
                works.append(work)
        return works, envelopes

    def _consumers_of(self, name: str) -> list[str]:
        here = [one.name for one in self._consumers.values() if any(t.__kind__.name == name for t in one.types)]
        return here + [other for other, types in self._elsewhere.items() if name in types and other not in here]

    # ---- what was parked, and what lies in the table

    async def retry(self) -> int:
        """Begin with what is parked and due; how many events that are. They go on when it returns."""
        if len(self._walking) >= LANES_MAX or not self._consumers:
            return 0
        token = str(uuid.uuid4())
        types = {t.__kind__.name for one in self._consumers.values() for t in one.types}
        works = await self._book.claim(tuple(self._consumers), tuple(types), token, self._lease)
        begun = [asyncio.create_task(self._again(path, token)) for path in lanes(works)]
        self._follow([self._holding(task, token) for task in begun])
        return len(works)

    async def _again(self, path: Lane, token: str) -> None:
        if path.works[0].consumer:
            await self._walk(path)
        else:
            # Nobody knew its type when it came; it was claimed because somebody here consumes it now.
            await self.take([one.content for one in path.works])
            for one in path.works:
                one.state = "done"
        await self._settle(path.works, token)

    def _drop(self, token: str) -> None:
        self._held[token] -= 1
        if not self._held[token]:
            del self._held[token]

    async def drain(self) -> int:
        """Take a portion out of the table; how many events that were."""
        token = str(uuid.uuid4())
        rows = await self._book.claim_table(token, self._lease)
        if rows:
            self._held[token] = 1
            try:
                await self.take([content for _, content in rows])
            finally:
                self._drop(token)
            await self._book.release_table([number for number, _ in rows], token)
        return len(rows)

    async def renew(self) -> None:
        """Keep what tasks of ours still work on."""
        if self._held:
            await self._book.renew(tuple(self._held), self._lease)

    async def enrol(self) -> None:
        """Say who consumes here, and learn who does elsewhere: their events are parked for them."""
        here = {one.name: tuple(t.__kind__.name for t in one.types) for one in self._consumers.values()}
        self._elsewhere = await self._book.enrol(here)

    # ---- tasks

    async def _settle(self, works: Sequence[Work], token: str) -> None:
        for pause in (*self.patience, None) if works else ():
            try:
                await self._book.settle(works, token)
            except Exception as error:  # noqa: BLE001 - see below
                if pause is not None:
                    await asyncio.sleep(pause)
                    continue
                # The lease ends by itself, and they are tried again: at least once is what was promised.
                _log.warning("What became of %d events could not be kept: %s", len(works), type(error).__name__)
            return

    def _follow(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            self._walking.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._walking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("A lane of the outbox has ended: %s", type(error).__name__)

    async def _walk(self, path: Lane) -> None:
        path.stopped = path.stopped or self._closing
        self._paths.add(path)
        try:
            await self._runner.walk(path)
        finally:
            self._paths.discard(path)

    async def settled(self) -> None:
        """Wait until nothing that has begun is still under way."""
        while self._walking:
            await asyncio.wait(tuple(self._walking))

    @property
    def is_closing(self) -> bool:
        """Whether no handler begins any more."""
        return self._closing

    def opened(self) -> None:
        """Handlers may begin."""
        self._closing = False

    def stop(self) -> None:
        """Let no handler begin any more; those that run go on."""
        self._closing = True
        for path in self._paths:
            path.stopped = True

    async def close(self, within: float = 0.0) -> None:
        """Let what is under way end within these seconds and cut off the rest: others go on with it."""
        self.stop()
        if self._walking and within:
            await asyncio.wait(tuple(self._walking), timeout=within)
        tasks = tuple(self._walking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._runner.forget_loop()
