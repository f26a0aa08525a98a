"""The way from one worker to Redis: a proxy that can be cut, slowed, stopped, and made to lose what it carries."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

Way = Literal["up", "down"]
WAYS: tuple[Way, ...] = ("up", "down")
# How long the one side of a dumb connection outlives the other, as it would until some keep-alive ends it.
FORGOTTEN_SECONDS = 10.0


class Link:
    """One proxy; `lost` ways swallow, `held` ways keep what comes until they are let go, as a network does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self.port = 0
        self.closed = False
        self.delay = 0.0
        self.lost: set[Way] = set()
        self.held: set[Way] = set()
        self.pairs: set[Pair] = set()
        self.numbers = itertools.count()

    async def start(self) -> None:
        """Listen on a port that it keeps."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Side(Pair(self, self._port), "up"), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End every connection at once, with whatever is in it."""
        for pair in tuple(self.pairs):
            pair.abort()

    def let_go(self, ways: Iterable[Way]) -> None:
        """What was held arrives, late as it is."""
        self.held.difference_update(ways)
        for pair in tuple(self.pairs):
            pair.release()

    def heal(self, ways: Iterable[Way], *, reset: bool) -> None:
        """Nothing more is lost; connections that have lost something are reset, or stay dumb for ever."""
        self.lost.difference_update(ways)
        if reset:
            for pair in tuple(self.pairs):
                if pair.holed:
                    pair.abort()

    def one(self, rng: random.Random) -> Pair | None:
        """One connection of those that there are."""
        return rng.choice(sorted(self.pairs, key=lambda pair: pair.number)) if self.pairs else None

    async def close(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.close()
        self.cut()


class Pair:
    """A connection of a worker and its other half to Redis."""

    def __init__(self, link: Link, port: int) -> None:
        self._link, self._port = link, port
        self.number = next(link.numbers)
        # Ways that keep what comes until they are let go, while other connections go on.
        self.held: set[Way] = set()
        self._sides: dict[Way, asyncio.Transport] = {}
        # What waits for its moment, in order; None is the end of that way.
        self._queues: dict[Way, list[tuple[float, bytes | None]]] = {"up": [], "down": []}
        # Ways that have lost something: what follows would be taken for something else.
        self.holed: set[Way] = set()
        self._task: asyncio.Task[None] | None = None
        self._aborted = False
        self._open = 1

    def made(self, way: Way, transport: asyncio.Transport) -> None:
        """One side is there: the worker's first, then the server's."""
        self._sides[way] = transport
        if way == "up":
            if self._link.closed:
                transport.abort()
                return
            self._link.pairs.add(self)
            self._task = asyncio.get_running_loop().create_task(self._connect())
        elif self._aborted:
            transport.abort()
        else:
            self._open += 1
            self.release()

    async def _connect(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: _Side(self, "down"), "127.0.0.1", self._port)
        except OSError:
            self.abort()

    def carry(self, way: Way, data: bytes | None) -> None:
        """Bring this to the other side, if and when the link does; None is that there is no more."""
        if way in self._link.lost:
            self.holed.add(way)
        if way in self.holed:
            # Nobody there hears of the end, as behind a router that is gone.
            return
        queue = self._queues[way]
        target = self._sides.get("down" if way == "up" else "up")
        if target is not None and not queue and not self._link.delay and not self._is_held(way):
            _pass(target, data)
            return
        loop = asyncio.get_running_loop()
        due = max(loop.time() + self._link.delay, queue[-1][0] if queue else 0.0)
        queue.append((due, data))
        if self._link.delay:
            loop.call_at(due, self.release)

    def release(self) -> None:
        """Bring what is due."""
        now = asyncio.get_running_loop().time()
        for way in WAYS:
            target = self._sides.get("down" if way == "up" else "up")
            queue = self._queues[way]
            while target is not None and queue and queue[0][0] <= now and not self._is_held(way):
                _pass(target, queue.pop(0)[1])
            if queue and target is not None and not self._is_held(way):
                asyncio.get_running_loop().call_at(queue[0][0] + 0.001, self.release)

    def _is_held(self, way: Way) -> bool:
        return way in self._link.held or way in self.held

    def abort(self) -> None:
        """End both sides."""
        self._aborted = True
        self._link.pairs.discard(self)
        for transport in self._sides.values():
            transport.abort()

    def ended(self, way: Way) -> None:
        """One side has closed: the other hears of it behind all that came before."""
        self._open -= 1
        if not self._open:
            self._link.pairs.discard(self)
        elif self.holed:
            asyncio.get_running_loop().call_later(FORGOTTEN_SECONDS, self.abort)
        self.carry(way, None)


class _Side(asyncio.Protocol):
    def __init__(self, pair: Pair, way: Way) -> None:
        self._pair, self._way = pair, way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._pair.made(self._way, transport)

    def data_received(self, data: bytes) -> None:
        self._pair.carry(self._way, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._pair.ended(self._way)


def _pass(target: asyncio.Transport, data: bytes | None) -> None:
    if data is None:
        target.close()
    elif not target.is_closing():
        target.write(data)
