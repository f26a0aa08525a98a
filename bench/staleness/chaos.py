"""The faults: what happens to Redis, to the ways to it, and to the workers, by a seeded schedule."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from link import WAYS, Link, Way
from server import PREFIX, Server

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from truth import Truth

# Some end within the bound, some long after it.
SHORT_SECONDS, LONG_SECONDS = 0.05, 5.0
# How far a replica may be behind: drops are told again for ten seconds.
FOLLOWS_SECONDS = 8.0
# What the bound does not hold for; it happens when it is asked for.
BEYOND = frozenset({"redis set back"})
# How much longer or shorter the time between two faults is.
WEATHER = (0.4, 1.0, 2.0)
_EVICT = (
    "for i = 1, 200 do local k = redis.call('RANDOMKEY') "
    f"if k and string.sub(k, 1, {len(PREFIX)}) == '{PREFIX}' then redis.call('UNLINK', k) end end"
)


class Crew(Protocol):
    """The workers, as far as faults go."""

    slots: int

    def freeze(self, slot: int) -> None:
        """Stop a worker where it is."""

    def thaw(self, slot: int) -> None:
        """Let it go on."""

    async def replace(self, slot: int) -> None:
        """Kill it and put another in its place."""


class Chaos:
    """One fault after the other, and several at once; each thing has one at a time."""

    def __init__(
        self,
        server: Server,
        links: Sequence[Link],
        crew: Crew,
        truth: Truth,
        rng: random.Random,
        *,
        only: Sequence[str] = (),
    ) -> None:
        self._server, self._links, self._crew, self._truth, self._rng = server, links, crew, truth, rng
        self.happened: Counter[str] = Counter()
        # When each began and ended, and which it was.
        self.log: list[tuple[float, float, str]] = []
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        say = server.say
        self._of_redis: dict[str, Callable[[], Awaitable[object]]] = {
            "redis frozen": self._frozen,
            "redis killed, nothing lost": lambda: self._killed(empty=False),
            "redis killed, everything lost": lambda: self._killed(empty=True),
            "redis full": self._full,
            "flushed": lambda: say("FLUSHALL"),
            "connections killed": lambda: say("CLIENT KILL TYPE normal"),
            "subscriptions killed": lambda: say("CLIENT KILL TYPE pubsub"),
            "bus deleted": lambda: say(f"DEL {PREFIX}inv"),
            "bus trimmed": lambda: say(f"XTRIM {PREFIX}inv MAXLEN 0"),
            "redis set back": self._set_back,
            "keys evicted": lambda: say(f'EVAL "{_EVICT}" 0'),
        }
        self._of_link: dict[str, Callable[[Link], Awaitable[None]]] = {
            "link cut": self._cut,
            "link refuses": self._refusing,
            "link slow": self._slow,
            "link loses, up": lambda link: self._losing(link, ("up",)),
            "link loses, down": lambda link: self._losing(link, ("down",)),
            "link loses, both ways": lambda link: self._losing(link, WAYS),
            "link holds, up": lambda link: self._holding(link, ("up",)),
            "link holds, down": lambda link: self._holding(link, ("down",)),
            "link holds, both ways": lambda link: self._holding(link, WAYS),
            "one connection deaf": self._deaf,
            "one connection held, up": lambda link: self._one_held(link, "up"),
            "one connection held, down": lambda link: self._one_held(link, "down"),
        }
        self._of_worker: dict[str, Callable[[int], Awaitable[None]]] = {
            "worker frozen": self._worker_frozen,
            "worker killed": self._crew.replace,
        }
        every = (*self._of_redis, *self._of_link, *self._of_worker)
        self.kinds = tuple(one for one in every if one in (only or set(every) - BEYOND))

    async def rage(self, gap: float) -> None:
        """Faults without end, every `gap` seconds or so; each kind once before any comes again.

        Some rounds are storms, in which hardly anything gets through, and in some there is peace in between.
        """
        waiting: list[str] = []
        pace = gap
        while True:
            if not waiting:
                waiting = list(self.kinds)
                self._rng.shuffle(waiting)
                pace = gap * self._rng.choice(WEATHER)
            self._begin(waiting)
            await asyncio.sleep(self._rng.expovariate(1 / pace))

    async def calm(self) -> None:
        """Wait until the last fault is over."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def end(self) -> None:
        """Whatever goes on is left as it is."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, waiting: list[str]) -> None:
        for name in waiting:
            slot = self._rng.randrange(self._crew.slots)
            what = "redis" if name in self._of_redis else "link" if name in self._of_link else "worker"
            place = what if what == "redis" else f"{what} {slot}"
            if place not in self._busy:
                waiting.remove(name)
                self._busy.add(place)
                task = asyncio.create_task(self._happen(name, place, slot))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return

    async def _happen(self, name: str, place: str, slot: int) -> None:
        begun = time.monotonic()
        self.happened[name] += 1
        try:
            if name in self._of_redis:
                await self._of_redis[name]()
            elif name in self._of_link:
                await self._of_link[name](self._links[slot])
            else:
                await self._of_worker[name](slot)
        finally:
            self._busy.discard(place)
            self.log.append((begun, time.monotonic(), f"{name} ({place})"))

    async def _while(self) -> None:
        """For some time: mostly short, at times longer than the bound."""
        await asyncio.sleep(SHORT_SECONDS + (LONG_SECONDS - SHORT_SECONDS) * self._rng.random() ** 2)

    # ---- of Redis ----

    async def _frozen(self) -> None:
        self._server.freeze()
        await self._while()
        self._server.thaw()

    async def _killed(self, *, empty: bool) -> None:
        self._server.kill()
        await asyncio.sleep(self._rng.random() ** 3 * LONG_SECONDS / 2)
        await self._server.start(empty=empty)

    async def _set_back(self) -> None:
        self._server.remember()
        await asyncio.sleep(self._rng.random() * FOLLOWS_SECONDS)
        self._server.kill()
        self._server.set_back()
        self._truth.set_back_at = time.monotonic()
        await self._server.start()
        self._truth.set_back_at = time.monotonic()
        await asyncio.sleep(LONG_SECONDS)

    async def _full(self) -> None:
        await self._server.say("CONFIG SET maxmemory 1")
        await self._while()
        await self._server.say("CONFIG SET maxmemory 0")

    # ---- of the ways to it ----

    async def _cut(self, link: Link) -> None:
        link.cut()

    async def _refusing(self, link: Link) -> None:
        link.closed = True
        link.cut()
        await self._while()
        link.closed = False

    async def _slow(self, link: Link) -> None:
        link.delay = self._rng.choice((0.005, 0.05, 0.15))
        await self._while()
        link.delay = 0.0

    async def _losing(self, link: Link, ways: Sequence[Way]) -> None:
        link.lost.update(ways)
        await self._while()
        link.heal(ways, reset=self._rng.random() < 0.5)

    async def _holding(self, link: Link, ways: Sequence[Way]) -> None:
        link.held.update(ways)
        await self._while()
        link.let_go(ways)

    async def _deaf(self, link: Link) -> None:
        pair = link.one(self._rng)
        if pair is not None:
            pair.holed.add("down")

    async def _one_held(self, link: Link, way: Way) -> None:
        pair = link.one(self._rng)
        if pair is not None:
            pair.held.add(way)
            await self._while()
            pair.held.discard(way)
            pair.release()

    # ---- of workers ----

    async def _worker_frozen(self, slot: int) -> None:
        self._crew.freeze(slot)
        await self._while()
        self._crew.thaw(slot)
