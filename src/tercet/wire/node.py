"""One server: its lanes, its breaker, and what its refusals mean."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from tercet.errors import CommandRefused, DeadlinePassed, PoolExhausted, StoreError, StoreUnreachable
from tercet.wire.batch import NEVER, Ask, Call, Gets
from tercet.wire.breaker import Breaker
from tercet.wire.lane import CONNECT_SECONDS, LIFELESS_SECONDS, Lane, close_line, copy_of, open_line
from tercet.wire.port import NodeState

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from tercet.clock import Clock
    from tercet.wire.line import Line
    from tercet.wire.port import Edge, Place, Pushed, Refusal, Reply

_log = logging.getLogger("tercet.wire")

# Each blocking command holds a connection of the server; more at once is a mistake of the program.
BLOCKING_MAX = 64

# The server cannot answer now, and says so; it is as if it did not answer.
_NOT_NOW = {
    "LOADING": "it is still loading its data",
    "MASTERDOWN": "its primary is down",
    "BUSY": "a script blocks it",
}

# A primary that was demoted: the next connection asks again who the primary is.
_DEMOTED = "READONLY"


class Guide(Protocol):
    """Whoever knows all servers: it follows redirects, and is told of pushes and new connections."""

    def redirect(self, node: Node, ask: Ask, refusal: Refusal) -> bool:
        """Send this elsewhere if that is what the refusal says; whether it was."""
        ...

    def pushed(self, node: Node, message: Pushed) -> None:
        """A message that nobody asked for."""
        ...

    def connected(self, node: Node) -> None:
        """A new main connection stands."""
        ...


class Node:
    """One server as everybody shares it."""

    def __init__(
        self,
        guide: Guide,
        edge: Edge,
        place: Place,
        *,
        loop: AbstractEventLoop,
        deadline: float,
        clock: Clock,
    ) -> None:
        self._guide, self.edge, self.place = guide, edge, place
        self._loop, self._deadline = loop, deadline
        self.breaker = Breaker(clock)
        self.main = Lane(self, loop, deadline, eager=True)
        self.big = Lane(self, loop, deadline, eager=False)
        self._idle: list[Line] = []
        self._blocking = 0
        self._lifeless: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def address(self) -> str:
        """Where it is, without secrets."""
        return self.edge.address(self.place)

    # ---- what a lane tells

    def refused(self, lane: Lane, line: Line, ask: Ask, refusal: Refusal) -> None:
        """An error reply: follow it, send it otherwise, or tell the caller."""
        if ask.refuse(lambda: self.meaning(refusal)):
            # It has another reply to come.
            line.expected.appendleft(ask)
            return
        code = refusal.code
        if code == "NOSCRIPT" and isinstance(ask, Call) and ask.script is not None and not ask.tries:
            ask.tries = 1
            ask.payload = self.edge.pack(("EVAL", ask.script.text, *ask.tail))
            lane.post([ask], renew=False)
            return
        if self._guide.redirect(self, ask, refusal):
            return
        if code == _DEMOTED:
            self._loop.call_soon(lane.reset)
        if isinstance(ask, Gets) and len(ask.keys) > 1 and code not in _NOT_NOW:
            again = ask.split(self.edge.pack)
            for one in again:
                one.due = ask.due
            lane.post([*again], renew=False)
            return
        ask.fail(lambda: self.meaning(refusal))

    def meaning(self, refusal: Refusal) -> StoreError:
        """What the server has said, as an error of ours."""
        code, _, text = str(refusal).partition(" ")
        if code in _NOT_NOW:
            return StoreUnreachable("redis", reason=_NOT_NOW[code], address=self.address)
        return CommandRefused("redis", code=code, reason=text)

    def pushed(self, message: Pushed) -> None:
        """Pass on what nobody asked for."""
        self._guide.pushed(self, message)

    def connected(self, lane: Lane, line: Line) -> None:
        """A new connection: whoever was refused may come again."""
        del line
        if lane is self.main:
            self._mend()
            self._guide.connected(self)
        elif self.main.line is None:
            self._mend()

    def failed(self, lane: Lane, error: StoreError) -> None:
        """No connection: everybody is refused until there is one."""
        del lane
        self._trip(lambda: copy_of(error))

    def missed(self, lane: Lane, *, lifeless: bool) -> None:
        """A deadline has passed: refuse everybody, and find out whether the server lives.

        A big value may be slow on a line that is alive, which says nothing of the others.
        """
        if lane is not self.main:
            if not lifeless:
                return
            lane.reset()
        address = self.address
        if self._trip(
            lambda: StoreUnreachable("redis", reason="it did not answer within its deadline", address=address)
        ):
            self._probe()

    def _trip(self, make: Callable[[], StoreError]) -> bool:
        fresh = self.breaker.trip(make)
        if fresh:
            _log.warning("redis at %s is not asked until it answers again", self.address)
        return fresh

    def _mend(self) -> None:
        if self._lifeless is not None:
            self._lifeless.cancel()
            self._lifeless = None
        if self.breaker.mend():
            _log.warning("redis at %s answers again", self.address)

    # ---- probing

    def _probe(self) -> None:
        """A PING behind everything that was sent: when it is answered, the line has caught up."""
        if self.main.line is None:
            self.main.wake()
            return
        ping = _Probe(self.edge.pack(("PING",)), self._alive)
        self.main.post([ping], renew=False)
        self._watch_life(self.main.line, self.main.line.heard)

    def _watch_life(self, line: Line, heard: int) -> None:
        self._lifeless = self._loop.call_later(LIFELESS_SECONDS, self._judge, line, heard)

    def _judge(self, line: Line, heard: int) -> None:
        """Replace a line on which nothing has come at all; one that is only slow is waited for."""
        self._lifeless = None
        if line is not self.main.line or not self.breaker.is_open:
            return
        if line.heard == heard:
            self.main.replace()
        else:
            self._watch_life(line, line.heard)

    def _alive(self) -> None:
        self.main.settle()
        self._mend()

    # ---- blocking commands

    async def block(self, payload: bytes, seconds: float) -> Reply:
        """One command on a connection of its own, which is kept for the next."""
        if self.breaker.is_open:
            raise self.breaker.refusal()
        if self._blocking >= BLOCKING_MAX:
            raise PoolExhausted("redis", size=BLOCKING_MAX, waited=0.0, held=None, holder=None)
        self._blocking += 1
        line: Line | None = None
        try:
            line = await self._idle_line()
            call = Call(payload, seconds, self._loop.create_future())
            line.send([call])
            async with asyncio.timeout(seconds + self._deadline):
                await asyncio.wait([call.future, line.gone], return_when=asyncio.FIRST_COMPLETED)
            if not call.future.done():
                raise StoreUnreachable("redis", reason="the connection was lost", address=self.address)
        except TimeoutError as error:
            raise DeadlinePassed("redis", what="a blocking command", deadline=seconds + self._deadline) from error
        finally:
            self._blocking -= 1
            if line is not None:
                self._give(line)
        return call.future.result()

    async def _idle_line(self) -> Line:
        while self._idle:
            line = self._idle.pop()
            if not line.closed:
                return line
        return await open_line(_Blocking(self), self, CONNECT_SECONDS)

    def _give(self, line: Line) -> None:
        if line.closed or line.expected or self._closed:
            # Cancelled or late: what is still to come on it belongs to nobody.
            line.abort()
        else:
            self._idle.append(line)

    # ---- state and end

    def state(self) -> NodeState:
        """How it stands right now."""
        writes, commands = map(sum, zip(self.main.written(), self.big.written(), strict=True))
        lanes = (self.main, self.big)
        return NodeState(
            address=self.address,
            connected=self.main.line is not None,
            breaker_open=self.breaker.is_open,
            breaker_opened=self.breaker.opened,
            in_flight=sum(lane.in_flight() for lane in lanes) + self._blocking,
            connections=sum(lane.line is not None for lane in lanes) + len(self._idle) + self._blocking,
            writes=writes,
            commands=commands,
        )

    async def close(self, make: Callable[[], Exception]) -> None:
        """End all lanes; who waits is told."""
        self._closed = True
        if self._lifeless is not None:
            self._lifeless.cancel()
        idle, self._idle = self._idle, []
        await asyncio.gather(self.main.close(make), self.big.close(make), *map(close_line, idle))


class _Probe(Ask):
    """A PING that nobody waits for; its answer is a sign of life."""

    __slots__ = ("_alive",)

    def __init__(self, payload: bytes, alive: Callable[[], None]) -> None:
        super().__init__(payload, NEVER)
        self._alive = alive

    def answer(self, reply: Reply) -> None:
        """It lives."""
        del reply
        self._alive()

    def fail(self, make: Callable[[], Exception]) -> None:
        """An error is an answer too; where the connection was lost, the next one is the probe."""


class _Blocking:
    """The owner of a line that has one caller at a time."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def refused(self, line: Line, ask: Ask, refusal: Refusal) -> None:
        """The caller is told."""
        del line
        ask.fail(lambda: self._node.meaning(refusal))

    def pushed(self, line: Line, message: Pushed) -> None:
        """Nothing is subscribed to on such a line."""

    def resumed(self, line: Line) -> None:
        """One command is never too much."""

    def lost(self, line: Line) -> None:
        """Its caller sees that it has gone."""
