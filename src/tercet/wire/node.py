"""One server: its lanes, its breaker, and what its refusals mean."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from tercet.errors import CommandRefused, DeadlinePassed, PoolExhausted, StoreError, StoreUnreachable
from tercet.wire.batch import NEVER, Ask, Call, Gets
from tercet.wire.breaker import Breaker
from tercet.wire.lane import LIFELESS_SECONDS, Lane
from tercet.wire.opening import CONNECT_SECONDS, close_line, copy_of, open_line
from tercet.wire.port import NodeState

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from tercet.clock import Clock
    from tercet.telemetry import Telemetry
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

    telemetry: Telemetry

    def redirect(self, node: Node, ask: Ask, refusal: Refusal) -> bool:
        """Send this elsewhere if that is what the refusal says; whether it was."""
        ...

    def pushed(self, node: Node, message: Pushed) -> None:
        """A message that nobody asked for."""
        ...

    def connected(self, node: Node) -> None:
        """A new main connection stands."""
        ...

    def noted(self, name: str, error: StoreError | None) -> None:
        """This server is no longer asked, or again."""
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
        slot_of: Callable[[bytes], int] | None = None,
    ) -> None:
        self._guide, self.edge, self.place = guide, edge, place
        self.telemetry = guide.telemetry
        self._loop, self._deadline = loop, deadline
        # In a cluster, the keys of one MGET lie in one slot.
        self.slot_of = slot_of
        self.breaker = Breaker(clock)
        self.main = Lane(self, loop, deadline, eager=True)
        self.big = Lane(self, loop, deadline, eager=False)
        self._idle: list[Line] = []
        self._blocking = 0
        self._later: asyncio.TimerHandle | None = None
        self._busy: set[Line] = set()
        self._opening: set[asyncio.Task[Line]] = set()
        self._closed: Callable[[], Exception] | None = None

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
        if isinstance(ask, _Probe):
            self._probed(code)
        elif code == "NOSCRIPT" and isinstance(ask, Call) and ask.script is not None and not ask.tries:
            ask.tries = 1
            ask.payload = self.edge.pack(("EVAL", ask.script.text, *ask.tail))
            lane.post([ask], renew=False)
        elif not self._guide.redirect(self, ask, refusal):
            if code == _DEMOTED:
                lane.expire()
            if isinstance(ask, Gets) and len(ask.keys) > 1 and code not in _NOT_NOW:
                lane.post([*ask.split(self.edge.pack)], renew=False)
            else:
                ask.fail(lambda: self.meaning(refusal))

    def _probed(self, code: str) -> None:
        """A probe that was refused was answered all the same, unless the server says that it cannot answer yet."""
        if code in _NOT_NOW:
            self._later = self._loop.call_later(self.breaker.pause(), self._probe)
        else:
            self._alive()

    def meaning(self, refusal: Refusal) -> StoreError:
        """What the server has said, as an error of ours."""
        code, text = refusal.code, refusal.reason
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
        if lane is self.main or self.main.line is None:
            self._trip(error, lambda: copy_of(error))
            self.main.wake()

    def missed(self, lane: Lane, *, lifeless: bool) -> None:
        """A deadline has passed: refuse everybody, and find out whether the server lives.

        A big value may be slow on a line that is alive, which says nothing of the others.
        """
        if lane is not self.main:
            if not lifeless:
                return
            lane.reset()
        error = StoreUnreachable("redis", reason="it did not answer within its deadline", address=self.address)
        if self._trip(error, lambda: copy_of(error)):
            self._probe()

    def _trip(self, error: StoreError, make: Callable[[], StoreError]) -> bool:
        fresh = self.breaker.trip(make)
        if fresh:
            _log.warning("redis is not asked until it answers again: %s", error.says)
            self._guide.noted("breaker", error)
        return fresh

    def _mend(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self.breaker.mend():
            _log.warning("redis at %s answers again", self.address)
            self._guide.noted("breaker", None)

    # ---- probing

    def _probe(self) -> None:
        """A PING behind everything that was sent: when it is answered, the line has caught up."""
        self._later = None
        if self.main.line is None:
            self.main.wake()
            return
        ping = _Probe(self.edge.pack(("PING",)), self._alive)
        self.main.post([ping], renew=False)
        self._watch_life(self.main.line)

    def _watch_life(self, line: Line) -> None:
        self._later = self._loop.call_later(LIFELESS_SECONDS, self._judge, line, self._loop.time())

    def _judge(self, line: Line, since: float) -> None:
        """Replace a line on which nothing has come at all; one that is only slow is waited for."""
        self._later = None
        if line is self.main.line and self.breaker.is_open:
            if line.heard_at < since:
                self.main.wake()
            else:
                self._watch_life(line)

    def _alive(self) -> None:
        self.main.settle()
        self._mend()

    # ---- blocking commands

    async def block(self, payload: bytes, seconds: float) -> Reply:
        """One command on a connection of its own, which is kept for the next."""
        if self._closed is not None:
            raise self._closed()
        if self.breaker.is_open:
            raise self.breaker.refusal()
        if self._blocking >= BLOCKING_MAX:
            raise PoolExhausted("redis", size=BLOCKING_MAX, waited=0.0, held=None, holder=None)
        self._blocking += 1
        line: Line | None = None
        call = Call(payload, seconds, self._loop.create_future())
        try:
            async with asyncio.timeout(seconds + self._deadline):
                line = await self._idle_line()
                line.send([call])
                await asyncio.wait([call.future, line.gone], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise DeadlinePassed("redis", what="a blocking command", deadline=seconds + self._deadline) from error
        finally:
            self._blocking -= 1
            if line is not None:
                self._give(line)
        if not call.future.done():
            raise self._ended()
        return call.future.result()

    def _ended(self) -> Exception:
        if self._closed is not None:
            return self._closed()
        return StoreUnreachable("redis", reason="the connection was lost", address=self.address)

    async def _idle_line(self) -> Line:
        while self._idle:
            line = self._idle.pop()
            if not line.closed:
                break
        else:
            task = self._loop.create_task(open_line(_Blocking(self), self, CONNECT_SECONDS))
            self._opening.add(task)
            try:
                line = await task
            except asyncio.CancelledError:
                if task.done() and not task.cancelled() and task.exception() is None:
                    # It had just been made when its caller was cancelled: nobody else knows of it.
                    task.result().abort()
                if not asyncio.current_task().cancelling():  # type: ignore[union-attr]  # this runs in a task
                    raise self._ended() from None
                raise
            finally:
                self._opening.discard(task)
        self._busy.add(line)
        return line

    def _give(self, line: Line) -> None:
        self._busy.discard(line)
        if line.closed or line.expected or self._closed is not None:
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
        self._closed = make
        if self._later is not None:
            self._later.cancel()
        opening = tuple(self._opening)
        for task in opening:
            task.cancel()
        lines = [*self._idle, *self._busy]
        self._idle.clear()
        await asyncio.gather(self.main.close(make), self.big.close(make), *map(close_line, lines))
        if opening:
            await asyncio.wait(opening)


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
