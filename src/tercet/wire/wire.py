"""The wire: one connection to Redis that everybody in an event loop shares."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from tercet.errors import CommandInvalid, NotOpen, StoreError, WrongLoop
from tercet.telemetry import Operation
from tercet.wire.batch import CHUNK_KEYS, NEVER, Ask, Call, Many
from tercet.wire.node import Node
from tercet.wire.port import WireState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from tercet.clock import Clock
    from tercet.telemetry import Telemetry
    from tercet.wire.lane import Lane
    from tercet.wire.port import Place, Pushed, Refusal, Reply, Word
    from tercet.wire.redis import RedisEdge
    from tercet.wire.script import Script

    Hear = Callable[[bytes | None], None]

_log = logging.getLogger("tercet.wire")

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
        self._clock, self._telemetry = clock, telemetry
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._edge: RedisEdge | None = None
        self._nodes: dict[Place, Node] = {}
        # The main lane of the only server; None in a cluster, where a key decides.
        self._lane: Lane | None = None
        self._watchers: list[Callable[[], None]] = []
        self._ears: dict[bytes, list[Hear]] = {}
        # The channels that a server has confirmed: they are subscribed to again on a new connection.
        self._confirmed: set[bytes] = set()

    @classmethod
    def at(cls, url: str, *, deadline: float = DEADLINE_SECONDS, clock: Clock, telemetry: Telemetry) -> Wire:
        """A wire to the server at this URL; raises SettingInvalid for a text that is none."""
        # Here, so that importing the wire loads no driver.
        from tercet.wire.redis import client_at  # noqa: PLC0415 - see above

        client_at(url)
        return cls(lambda: client_at(url), deadline=deadline, clock=clock, telemetry=telemetry)

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
        return self._lane_of(key, big=big).get(key, deadline)

    def get_many(
        self, keys: Sequence[bytes], *, deadline: float | None = None, big: bool = False
    ) -> Awaitable[list[bytes | None]]:
        """The values of these keys in their order, None where there is none."""
        edge, loop = self._here()
        if len(keys) > CHUNK_KEYS or not keys:
            return self._get_chunks(keys, deadline, big)
        many = Many(edge.pack((b"MGET", *keys)), deadline or self._deadline, loop.create_future())
        self._lane_of(keys[0], big=big).put(many)
        return many.future

    async def _get_chunks(self, keys: Sequence[bytes], deadline: float | None, big: bool) -> list[bytes | None]:
        starts = range(0, len(keys), CHUNK_KEYS)
        parts = (self.get_many(keys[start : start + CHUNK_KEYS], deadline=deadline, big=big) for start in starts)
        return [value for part in await asyncio.gather(*parts) for value in part]

    def call(
        self,
        *words: Word,
        key: bytes | None = None,
        deadline: float | None = None,
        always: bool = False,
        big: bool = False,
    ) -> Awaitable[Reply]:
        """Any command that changes nothing about the connection itself, and its reply.

        `always` sends it though the server is not asked at present. Raises CommandRefused for an error that the
        server answers, StoreUnreachable when it was not sent or its connection was lost, DeadlinePassed when no
        answer came in time: then it is not known whether it took place.
        """
        edge, loop = self._here()
        if not words or not edge.shares(words[0]):
            raise CommandInvalid(
                str(words[0]) if words else "",
                reason="it changes or blocks the connection, which everybody shares" if words else "it has no words",
            )
        payload = edge.pack(words)
        call = Call(
            payload, deadline or self._deadline, loop.create_future(), key or (words[1] if len(words) > 1 else None)
        )
        self._lane_of(call.key, big=big or len(payload) > BIG_BYTES).put(call, always=always)
        return call.future

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
        edge, loop = self._here()
        tail = (len(keys), *keys, *words)
        payload = edge.pack(("EVALSHA", script.sha, *tail))
        call = Call(payload, deadline or self._deadline, loop.create_future(), keys[0] if keys else None)
        call.script, call.tail = script, tail
        self._lane_of(call.key, big=big or len(payload) > BIG_BYTES).put(call, always=always)
        return call.future

    async def block(self, *words: Word, key: bytes, seconds: float) -> Reply:
        """A command that waits on the server, for these seconds at most, on a connection of its own."""
        edge, _ = self._here()
        return await self._node_of(key).block(edge.pack(words), seconds)

    async def scan(self, match: bytes, *, count: int = 500) -> AsyncIterator[list[bytes]]:
        """The keys that match, in portions; one may come twice, and one that comes or goes meanwhile may be missed."""
        edge, loop = self._here()
        for node in tuple(self._nodes.values()):
            cursor: Word = 0
            while True:
                payload = edge.pack(("SCAN", cursor, "MATCH", match, "COUNT", count))
                call = Call(payload, self._deadline, loop.create_future())
                node.main.put(call)
                cursor, keys = await call.future
                if keys:
                    yield keys
                if int(cursor) == 0:
                    break

    # ---- messages

    async def listen(self, channel: bytes, hear: Hear) -> None:
        """Call `hear` with each message of this channel; None says that some may have been lost.

        Returns when the server has confirmed it. After a connection was lost it is subscribed to again by itself.
        """
        self._here()
        ears = self._ears.setdefault(channel, [])
        ears.append(hear)
        try:
            await self._subscribe(self._node_of(channel), "SUBSCRIBE", (channel,))
        except BaseException:
            self._ears_without(channel, hear)
            raise
        self._confirmed.add(channel)

    async def unlisten(self, channel: bytes, hear: Hear) -> None:
        """No longer call `hear`; one that was not listening is fine."""
        self._here()
        self._ears_without(channel, hear)
        node = self._node_of(channel)
        if channel not in self._ears and node.main.line is not None:
            await self._subscribe(node, "UNSUBSCRIBE", (channel,))

    def _ears_without(self, channel: bytes, hear: Hear) -> None:
        ears = self._ears.get(channel, [])
        if hear in ears:
            ears.remove(hear)
        if not ears:
            self._ears.pop(channel, None)
            self._confirmed.discard(channel)

    async def _subscribe(self, node: Node, command: str, channels: Sequence[bytes]) -> None:
        edge, loop = self._here()
        ask = _Subscribe(
            edge.pack((command, *channels)) + edge.pack(("HELLO", 3)), self._deadline, loop.create_future()
        )
        node.main.put(ask)
        await ask.future

    def watch(self, connected: Callable[[], None]) -> None:
        """Call this after each new connection: what was sent before it may have been lost."""
        self._watchers.append(connected)

    # ---- what a node tells

    def redirect(self, node: Node, ask: Ask, refusal: Refusal) -> bool:
        """Send this elsewhere if that is what the refusal says."""
        del node, ask, refusal
        return False

    def pushed(self, node: Node, message: Pushed) -> None:
        """A message of a channel goes to its listeners."""
        del node
        if message[0] == b"message":
            self._tell(message[1], message[2])

    def connected(self, node: Node) -> None:
        """Subscribe again, and tell who watches."""
        edge, loop = self._here()
        channels = [channel for channel in self._confirmed if self._node_of(channel) is node]
        if channels:
            payload = edge.pack(("SUBSCRIBE", *channels)) + edge.pack(("HELLO", 3))
            again = _Subscribe(payload, NEVER, loop.create_future())
            again.future.add_done_callback(lambda done: self._resubscribed(channels, done))
            node.main.post([again])
        for connected in tuple(self._watchers):
            self._guarded(connected)

    def noted(self, name: str, error: StoreError | None) -> None:
        """Tell who listens to telemetry that a server is no longer asked, or again."""
        if self._telemetry.heard:
            kind = None if error is None else type(error).__name__
            self._telemetry.tell(Operation("wire", name, 0.0, "ok" if error is None else "failed", "redis", kind))

    def _resubscribed(self, channels: Sequence[bytes], done: asyncio.Future[Reply]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            _log.warning("channels could not be subscribed to again: %s", error)
        for channel in channels:
            self._tell(channel, None)

    def _tell(self, channel: bytes, data: bytes | None) -> None:
        for hear in tuple(self._ears.get(channel, ())):
            self._guarded(hear, data)

    def _guarded(self, told: Callable[..., None], *facts: bytes | None) -> None:
        try:
            told(*facts)
        except Exception:  # noqa: BLE001 - whatever it is, it is the listener's fault, and it is logged
            _log.exception("a listener of the wire failed")

    # ---- state and end

    async def client_id(self, key: bytes = b"") -> int:
        """The server's number for our connection to it, for questions of liveness."""
        node = self._node_of(key)
        if node.main.line is None:
            await self.call("PING", key=key or None)
        line = node.main.line
        return line.client_id if line is not None else 0

    def state(self) -> WireState:
        """How it stands right now."""
        return WireState(tuple(node.state() for node in self._nodes.values()))

    async def close(self) -> None:
        """End all connections; who still waits is told NotOpen. It starts afresh when it is used again."""
        if self._loop is None or self._loop.is_closed():
            self._forget()
            return
        if asyncio.get_running_loop() is not self._loop:
            raise WrongLoop("The wire", forked=self._pid != os.getpid())
        nodes = tuple(self._nodes.values())
        await asyncio.gather(*(node.close(lambda: NotOpen("The wire", closed=True)) for node in nodes))
        self._forget()

    def _forget(self) -> None:
        self._loop, self._edge, self._lane, self._nodes = None, None, None, {}

    # ---- inside

    def _enter(self) -> None:
        """Begin in this event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not None and not self._loop.is_closed():
            raise WrongLoop("The wire", forked=self._pid != os.getpid())
        # Here, so that importing the wire loads no driver.
        from tercet.wire.redis import RedisEdge  # noqa: PLC0415 - see above

        edge = RedisEdge(self._source())
        self._loop, self._pid, self._edge = loop, os.getpid(), edge
        place = edge.home()
        node = Node(self, edge, place, loop=loop, deadline=self._deadline, clock=self._clock)
        self._nodes, self._lane = {place: node}, node.main

    def _here(self) -> tuple[RedisEdge, asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._enter()
        if self._edge is None:
            raise NotOpen("The wire", closed=True)
        return self._edge, loop

    def _node_of(self, key: Word | None) -> Node:
        del key
        self._here()
        return next(iter(self._nodes.values()))

    def _lane_of(self, key: Word | None, *, big: bool) -> Lane:
        node = self._node_of(key)
        return node.big if big else node.main


class _Subscribe(Call):
    """SUBSCRIBE and HELLO: the first is confirmed by pushes and refused by an error, the second always answers."""

    __slots__ = ("error",)

    def __init__(self, payload: bytes, deadline: float, future: asyncio.Future[Reply]) -> None:
        super().__init__(payload, deadline, future)
        self.error: Callable[[], Exception] | None = None

    def refuse(self, make: Callable[[], Exception]) -> bool:
        """SUBSCRIBE was refused; HELLO is still to answer."""
        if self.error is not None:
            return False
        self.error = make
        return True

    def answer(self, reply: Reply) -> None:
        """HELLO has answered, so it is decided."""
        if self.error is None:
            super().answer(reply)
        else:
            self.fail(self.error)
