"""The wire: one connection to Redis that everybody in an event loop shares."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from tercet.errors import CommandInvalid, NotOpen, StoreError, StoreUnreachable, WrongLoop
from tercet.telemetry import Operation
from tercet.wire.batch import CHUNK_KEYS, Call, Many
from tercet.wire.channels import Channels, guarded
from tercet.wire.port import WireState
from tercet.wire.routes import Routes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from tercet.clock import Clock
    from tercet.telemetry import Telemetry
    from tercet.wire.lane import Lane
    from tercet.wire.node import Node
    from tercet.wire.port import Pushed, Reply, Word
    from tercet.wire.script import Script

# What a command may take: a healthy server answers within a millisecond, a loaded machine within some tens.
DEADLINE_SECONDS = 0.25

# Words that are longer together go on a connection of their own, so that small answers need not wait behind them.
BIG_BYTES = 32 * 1024


class Wire:
    """Commands of all tasks on one connection: those of a loop tick leave together, each caller gets its own answer.

    It is made without opening anything, and connects when it is first used. It belongs to one event loop at a
    time, and starts afresh in the next one after that has ended.

    A server that misses a deadline is not asked again before it has answered a probe: callers are refused at
    once with StoreUnreachable. A cancelled caller drops its own answer and nothing else.
    """

    def __init__(
        self,
        source: Callable[[], object],
        *,
        deadline: float = DEADLINE_SECONDS,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._source, self._deadline = source, deadline
        self._clock, self.telemetry = clock, telemetry
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._routes: Routes | None = None
        # The main lane of the only server; None in a cluster, where a key decides.
        self._lane: Lane | None = None
        self._watchers: list[Callable[[], None]] = []
        self._channels = Channels()

    @classmethod
    def at(cls, url: str, *, deadline: float = DEADLINE_SECONDS, clock: Clock, telemetry: Telemetry) -> Wire:
        """A wire to the server at this URL; raises SettingInvalid for a text that is none."""
        # Here, so that importing the wire loads no driver.
        from tercet.wire.redis import client_at  # noqa: PLC0415 - see above

        client_at(url)
        return cls(lambda: client_at(url), deadline=deadline, clock=clock, telemetry=telemetry)

    @property
    def deadline(self) -> float:
        """Seconds that a command has which names none."""
        return self._deadline

    # ---- commands

    def get(self, key: bytes, *, deadline: float | None = None, big: bool = False) -> Awaitable[bytes | None]:
        """The value of a key, or None where there is none, or none that is a string.

        The GETs of a tick leave as one MGET, in which equal ones ask once.
        """
        if asyncio.get_running_loop() is not self._loop:
            self._enter()
        lane = self._lane
        if lane is not None and deadline is None and not big and (lane.gathering or lane.begin()):
            future: asyncio.Future[bytes | None] = self._loop.create_future()  # type: ignore[union-attr]  # _enter has set it
            lane.keys.append(key)
            lane.waiters.append(future)
            return future
        routes = self._here()
        if not routes.ready:
            return self._get_later(routes, key, deadline, big)
        node = routes.node_of(key)
        return (node.big if big else node.main).get(key, deadline)

    def get_many(
        self, keys: Sequence[bytes], *, deadline: float | None = None, big: bool = False
    ) -> Awaitable[list[bytes | None]]:
        """The values of these keys in their order, None where there is none."""
        routes = self._here()
        if routes.only is None:
            return self._get_each(keys, deadline, big)
        if len(keys) > CHUNK_KEYS or not keys:
            return self._get_chunks(keys, deadline, big)
        many = Many(routes.edge.pack((b"MGET", *keys)), deadline or self._deadline, routes.loop.create_future())
        (routes.only.big if big else routes.only.main).put(many)
        return many.future

    async def _get_chunks(self, keys: Sequence[bytes], deadline: float | None, big: bool) -> list[bytes | None]:
        starts = range(0, len(keys), CHUNK_KEYS)
        parts = (self.get_many(keys[start : start + CHUNK_KEYS], deadline=deadline, big=big) for start in starts)
        return [value for part in await asyncio.gather(*parts) for value in part]

    async def _get_each(self, keys: Sequence[bytes], deadline: float | None, big: bool) -> list[bytes | None]:
        """In a cluster the GETs of a tick are put together by slot."""
        return list(await asyncio.gather(*(self.get(key, deadline=deadline, big=big) for key in keys)))

    async def _get_later(self, routes: Routes, key: bytes, deadline: float | None, big: bool) -> bytes | None:
        await self._known(routes, deadline or self._deadline)
        return await self.get(key, deadline=deadline, big=big)

    def call(
        self,
        *words: Word,
        key: bytes | None = None,
        deadline: float | None = None,
        always: bool = False,
        big: bool = False,
    ) -> Awaitable[Reply]:
        """Any command that changes nothing about the connection itself, and its reply.

        In a cluster `key` says which server is asked; without it, the first word after the name. `always` sends
        it though the server is not asked at present. Raises CommandRefused for an error that the server answers,
        StoreUnreachable when it was not sent or its connection was lost, DeadlinePassed when no answer came in
        time: then it is not known whether it took place.
        """
        routes = self._here()
        if not words or not routes.edge.shares(words):
            raise CommandInvalid(
                str(words[0]) if words else "",
                reason="it changes or blocks the connection, which everybody shares" if words else "it has no words",
            )
        routed = key or (words[1] if len(words) > 1 else None)
        call = Call(routes.edge.pack(words), deadline or self._deadline, routes.loop.create_future(), routed)
        return self._put(routes, call, always, big)

    def run(
        self,
        script: Script,
        keys: Sequence[bytes],
        words: Sequence[Word] = (),
        *,
        deadline: float | None = None,
        always: bool = False,
        big: bool = False,
    ) -> Awaitable[Reply]:
        """Run a script by its hash; a server that does not know it is given the text."""
        routes = self._here()
        tail = (len(keys), *keys, *words)
        payload = routes.edge.pack(("EVALSHA", script.sha, *tail))
        call = Call(payload, deadline or self._deadline, routes.loop.create_future(), keys[0] if keys else None)
        call.script, call.tail = script, tail
        return self._put(routes, call, always, big)

    def _put(self, routes: Routes, call: Call, always: bool, big: bool) -> Awaitable[Reply]:
        if not routes.ready:
            return self._put_later(routes, call, always, big)
        node = routes.node_of(call.key)
        (node.big if big or len(call.payload) > BIG_BYTES else node.main).put(call, always=always)
        return call.future

    async def _put_later(self, routes: Routes, call: Call, always: bool, big: bool) -> Reply:
        await self._known(routes, call.deadline)
        return await self._put(routes, call, always, big)

    async def _known(self, routes: Routes, deadline: float) -> None:
        """Wait until it is known where keys are, as long as a command may take."""
        try:
            async with asyncio.timeout(deadline):
                await routes.known()
        except TimeoutError as error:
            reason = "its slots are not known yet"
            raise StoreUnreachable("redis", reason=reason, address="the cluster") from error

    async def block(self, *words: Word, key: bytes, seconds: float) -> Reply:
        """A command that waits on the server, for these seconds at most, on a connection of its own."""
        routes = self._here()
        await self._known(routes, self._deadline)
        return await routes.node_of(key).block(routes.edge.pack(words), seconds)

    async def scan(self, match: bytes, *, count: int = 500) -> AsyncGenerator[list[bytes], None]:
        """The keys that match, in portions, of every primary.

        A key may come twice, and one that comes or goes meanwhile may be missed.
        """
        routes = self._here()
        await self._known(routes, self._deadline)
        for node in routes.primaries():
            cursor: Word = 0
            while True:
                payload = routes.edge.pack(("SCAN", cursor, "MATCH", match, "COUNT", count))
                call = Call(payload, self._deadline, routes.loop.create_future())
                node.main.put(call)
                cursor, keys = await call.future
                if keys:
                    yield keys
                if int(cursor) == 0:
                    break

    # ---- messages

    async def listen(self, channel: bytes, hear: Callable[[bytes | None], None]) -> None:
        """Call `hear` with each message of this channel; None says that some may have been lost.

        Returns when the server has confirmed it. After a connection was lost it is subscribed to again by itself.
        It ends with `unlisten`, with `close`, and with the event loop.
        """
        routes = self._here()
        await self._known(routes, self._deadline)
        await self._channels.listen(routes.node_of(channel), channel, hear, self._deadline)

    async def unlisten(self, channel: bytes, hear: Callable[[bytes | None], None]) -> None:
        """No longer call `hear`; one that was not listening is fine."""
        routes = self._here()
        await self._known(routes, self._deadline)
        await self._channels.unlisten(routes.node_of(channel), channel, hear, self._deadline)

    def watch(self, connected: Callable[[], None]) -> None:
        """Call this after each new connection: what was sent before it may have been lost."""
        self._watchers.append(connected)

    # ---- what the routes tell

    def pushed(self, node: Node, message: Pushed) -> None:
        """A message of a channel goes to its listeners."""
        del node
        self._channels.pushed(message)

    def connected(self, node: Node) -> None:
        """Subscribe again, and tell who watches."""
        self._channels.again(node)
        for connected in tuple(self._watchers):
            guarded(connected)

    def parted(self, node: Node) -> None:
        """A server has left the cluster: its channels are heard from others."""
        if self._routes is not None:
            self._channels.move(node, self._routes.node_of)

    def noted(self, name: str, error: StoreError | None) -> None:
        """Tell who listens to telemetry that a server is no longer asked, or again."""
        if self.telemetry.heard:
            kind = None if error is None else type(error).__name__
            self.telemetry.tell(Operation("wire", name, 0.0, "ok" if error is None else "failed", "redis", kind))

    # ---- state and end

    async def client_id(self, key: bytes = b"") -> int:
        """The server's number for our connection to it, for questions of liveness."""
        routes = self._here()
        await self._known(routes, self._deadline)
        lane = routes.node_of(key or None).main
        if lane.line is None:
            await self.call("PING", key=key or None)
        return lane.line.client_id if lane.line is not None else 0

    def client_ids(self) -> dict[str, int]:
        """The number of our connection at each server that we are connected to, by its address."""
        nodes = self._routes.nodes.values() if self._routes is not None else ()
        return {node.address: node.main.line.client_id for node in nodes if node.main.line is not None}

    def state(self) -> WireState:
        """How it stands right now."""
        nodes = self._routes.nodes.values() if self._routes is not None else ()
        return WireState(tuple(node.state() for node in nodes))

    async def close(self) -> None:
        """End all connections; who still waits is told NotOpen. It starts afresh when it is used again."""
        routes, loop = self._routes, self._loop
        if loop is not None and not loop.is_closed() and asyncio.get_running_loop() is not loop:
            raise WrongLoop("The wire", forked=self._pid != os.getpid())
        if routes is not None and loop is not None and not loop.is_closed():
            await routes.close(lambda: NotOpen("The wire", closed=True))
        if self._routes is routes:
            self._loop, self._routes, self._lane, self._channels = None, None, None, Channels()

    def _enter(self) -> None:
        """Begin in this event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not None and not self._loop.is_closed():
            raise WrongLoop("The wire", forked=self._pid != os.getpid())
        # Here, so that importing the wire loads no driver.
        from tercet.wire.redis import RedisEdge  # noqa: PLC0415 - see above

        routes = Routes(self, RedisEdge(self._source()), deadline=self._deadline, clock=self._clock)
        self._loop, self._pid, self._routes, self._channels = loop, os.getpid(), routes, Channels()
        self._lane = routes.only.main if routes.only is not None else None

    def _here(self) -> Routes:
        if asyncio.get_running_loop() is not self._loop:
            self._enter()
        if self._routes is None:
            raise NotOpen("The wire", closed=True)
        return self._routes
