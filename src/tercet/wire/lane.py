"""A lane to one server: it gathers the commands of a tick, keeps a line open, and minds everybody's deadline."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from tercet.errors import DeadlinePassed, StoreError, StoreUnreachable
from tercet.telemetry import WireWrote
from tercet.wire.batch import NEVER, Ask, Call, by_slot, gets
from tercet.wire.opening import CONNECT_SECONDS, close_line, copy_of, open_line

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable

    from tercet.telemetry import Telemetry
    from tercet.wire.breaker import Breaker
    from tercet.wire.line import Line
    from tercet.wire.port import Edge, Place, Pushed, Refusal, Reply

_log = logging.getLogger("tercet.wire")

# After a deadline the loop is given one more look at its sockets: it may have been the loop that was late.
DOUBT_SECONDS = 0.005

# A connection on which nothing at all has come for this long after a missed deadline is replaced.
LIFELESS_SECONDS = 1.0

# A server that turns out to be a replica is looked for anew, but not more often than this.
STALE_SECONDS = 1.0

# So many commands may wait for one server. More means that it does not keep up, and memory would fill.
WAITING_MAX = 100_000


class Host(Protocol):
    """The server that a lane leads to."""

    edge: Edge
    place: Place
    breaker: Breaker
    telemetry: Telemetry
    # In a cluster, the slot of a key: the keys of one MGET lie in one slot.
    slot_of: Callable[[bytes], int] | None

    def refused(self, lane: Lane, line: Line, ask: Ask, refusal: Refusal) -> None:
        """The server has answered this with an error."""
        ...

    def pushed(self, message: Pushed) -> None:
        """The server has sent something that nobody asked for."""
        ...

    def connected(self, lane: Lane, line: Line) -> None:
        """A new connection stands; nothing was sent on it yet."""
        ...

    def failed(self, lane: Lane, error: StoreError) -> None:
        """No connection could be made."""
        ...

    def missed(self, lane: Lane, *, lifeless: bool) -> None:
        """A deadline has passed; `lifeless` when nothing at all has come meanwhile."""
        ...


class Lane:
    """Commands go in, and leave together in the next tick of the loop."""

    def __init__(self, host: Host, loop: AbstractEventLoop, deadline: float, *, eager: bool) -> None:
        self._host, self._loop, self._deadline = host, loop, deadline
        # An eager lane is connected again at once, a lazy one when it is next used.
        self._eager = eager
        # What this tick has gathered so far: GETs with the usual deadline, and everything else.
        self.gathering = False
        self.keys: list[bytes] = []
        self.waiters: list[Future[Reply]] = []
        self.asks: list[Ask] = []
        self._special: dict[float, tuple[list[bytes], list[Future[Reply]]]] = {}
        self.line: Line | None = None
        self._unsent: list[Ask] = []
        self._connecting: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = NEVER
        self._doubted = False
        self._closed: Callable[[], Exception] | None = None
        self._made_at = 0.0
        self.lines_made = self.writes = self.commands = 0

    # ---- gathering

    def begin(self) -> bool:
        """Begin to gather a tick; False where the server is not asked at present."""
        if self._host.breaker.is_open or self._closed is not None:
            return False
        self.gathering = True
        self._loop.call_soon(self._flush)
        return True

    def get(self, key: bytes, deadline: float | None) -> Future[Reply]:
        """A GET of this tick."""
        future: Future[Reply] = self._loop.create_future()
        if not self.gathering and not self.begin():
            future.set_exception(self.refusal())
        elif deadline is None or deadline == self._deadline:
            self.keys.append(key)
            self.waiters.append(future)
        else:
            keys, waiters = self._special.setdefault(deadline, ([], []))
            keys.append(key)
            waiters.append(future)
        return future

    def put(self, call: Call, *, always: bool = False) -> None:
        """A command of this tick; with `always`, sent though the server is not asked at present."""
        call.always = always
        if self.gathering or self.begin():
            self.asks.append(call)
        elif always and self._closed is None:
            self.post([call])
        else:
            call.fail(self.refusal)

    def refusal(self) -> Exception:
        """Why nobody is served here at present."""
        return self._closed() if self._closed is not None else self._host.breaker.refusal()

    def _flush(self) -> None:
        self.gathering = False
        keys, waiters, asks = self.keys, self.waiters, self.asks
        if asks:
            self.asks = []
        if keys:
            self.keys, self.waiters = [], []
            asks = [*asks, *self._gets(keys, waiters, self._deadline)]
        if self._special:
            special, self._special = self._special, {}
            for deadline, (keys, waiters) in special.items():
                asks = [*asks, *self._gets(keys, waiters, deadline)]
        if self._host.breaker.is_open or self._closed is not None:
            for ask in asks:
                if not ask.always or self._closed is not None:
                    ask.fail(self.refusal)
            asks = [ask for ask in asks if ask.wanted()]
        if asks:
            self.post(asks)

    def _gets(self, keys: list[bytes], waiters: list[Future[Reply]], deadline: float) -> list[Ask]:
        pack, slot_of = self._host.edge.pack, self._host.slot_of
        try:
            if slot_of is None:
                return list(gets(keys, waiters, pack=pack, deadline=deadline))
            spread = by_slot(keys, waiters, slot_of)
            return [ask for part in spread for ask in gets(*part, pack=pack, deadline=deadline)]
        except Exception as error:  # noqa: BLE001 - one caller's key is none: it is told so, and the others are served
            if len(keys) == 1:
                if not waiters[0].done():
                    waiters[0].set_exception(error)
                return []
            pairs = zip(keys, waiters, strict=True)
            return [ask for key, waiter in pairs for ask in self._gets([key], [waiter], deadline)]

    # ---- sending

    def post(self, asks: list[Ask], *, renew: bool = True) -> None:
        """Send these now, or as soon as there is a line that takes them."""
        if self._closed is not None:
            for ask in asks:
                ask.fail(self._closed)
            return
        now = self._loop.time()
        due = NEVER
        for ask in asks:
            if renew:
                ask.due = now + ask.deadline
            due = min(due, ask.due)
        line = self.line
        direct = line is not None and not line.paused and not self._unsent
        room = WAITING_MAX - (len(line.expected) if line is not None and direct else len(self._unsent))
        if len(asks) > room:
            self._overrun(asks[room:])
            asks = asks[:room]
        if line is not None and direct:
            if asks:
                self._send(line, asks)
        else:
            self._unsent += asks
            if line is None:
                self.wake()
        if due < self._timer_due:
            self._arm(due)

    def _overrun(self, asks: list[Ask]) -> None:
        address = self._host.edge.address(self._host.place)
        reason = f"{WAITING_MAX} commands wait for it already"
        for ask in asks:
            ask.fail(lambda: StoreUnreachable("redis", reason=reason, address=address))

    def _send_unsent(self) -> None:
        line = self.line
        if line is None or line.paused or not self._unsent:
            return
        unsent, self._unsent = self._unsent, []
        wanted = [ask for ask in unsent if ask.wanted()]
        if wanted:
            self._send(line, wanted)

    def _send(self, line: Line, asks: list[Ask]) -> None:
        line.send(asks)
        if self._host.telemetry.heard:
            self._host.telemetry.tell(WireWrote(sum(ask.size for ask in asks)))

    # ---- deadlines

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._look) if due < NEVER else None

    def _look(self) -> None:
        """Whose time is over has missed its deadline; the timer is set for whoever is next."""
        self._timer, self._timer_due = None, NEVER
        now = self._loop.time()
        line = self.line
        sent = line.expected if line is not None else ()
        late = [ask for ask in chain(sent, self._unsent) if ask.due <= now]
        if late and not self._doubted:
            self._doubted = True
            self._arm(now + DOUBT_SECONDS)
            return
        self._doubted = False
        if late:
            self._expire(late, line)
        left = [ask.due for ask in chain(sent, self._unsent)]
        if left:
            self._arm(min(left))

    def _expire(self, late: list[Ask], line: Line | None) -> None:
        since = min(ask.due - ask.deadline for ask in late)
        overdue = set(map(id, late))
        self._unsent = [ask for ask in self._unsent if id(ask) not in overdue]
        for ask in late:
            ask.fail(self._unconnected if line is None else _too_slow(ask.deadline))
        self._host.missed(self, lifeless=line is None or line.heard_at < since)

    def _unconnected(self) -> StoreUnreachable:
        address = self._host.edge.address(self._host.place)
        return StoreUnreachable("redis", reason="no connection was made in time", address=address)

    # ---- the line

    def wake(self) -> None:
        """See to it that there is a line, or soon will be."""
        if self._connecting is None and self._closed is None:
            self._connecting = self._loop.create_task(self._connect(), name="tercet-wire-connect")

    def settle(self) -> None:
        """The line is alive after all: what was tried beside it is let go."""
        task = self._connecting
        if self.line is not None and task is not None:
            self._connecting = None
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _connect(self) -> None:
        """Connect, however often it takes."""
        while True:
            try:
                line = await open_line(self, self._host, CONNECT_SECONDS)
            except StoreError as error:
                self._fail_unsent(error)
                self._host.failed(self, error)
                if not self._eager:
                    self._connecting = None
                    return
                await asyncio.sleep(self._host.breaker.pause())
            else:
                break
        self._connecting = None
        old, self.line = self.line, line
        self.lines_made += 1
        self._made_at = self._loop.time()
        if old is not None:
            self._salvage(old)
            old.abort()
        self._host.connected(self, line)
        self._send_unsent()

    def _fail_unsent(self, error: StoreError) -> None:
        unsent, self._unsent = self._unsent, []
        for ask in unsent:
            ask.fail(lambda: copy_of(error))

    def reset(self) -> None:
        """End the line."""
        if self.line is not None:
            self.line.abort()

    def expire(self) -> None:
        """The line leads to the wrong server: the next one may lead to the right one, if it is tried later."""
        if self.line is not None and self._loop.time() - self._made_at > STALE_SECONDS:
            self._loop.call_soon(self.reset)

    def _salvage(self, line: Line) -> None:
        """What may be sent again is sent again, once; everybody else is told."""
        self.writes += line.writes
        self.commands += line.commands
        address = self._host.edge.address(self._host.place)
        again = []
        for ask in line.expected:
            if ask.due < NEVER and ask.repeatable and not ask.tries:
                ask.tries = 1
                again.append(ask)
            else:
                ask.fail(
                    lambda: StoreUnreachable(
                        "redis", reason="the connection was lost before it answered", address=address
                    )
                )
        line.expected.clear()
        self._unsent[:0] = again

    # ---- what a line tells its owner

    def refused(self, line: Line, ask: Ask, refusal: Refusal) -> None:
        """The server has answered this with an error."""
        self._host.refused(self, line, ask, refusal)

    def pushed(self, line: Line, message: Pushed) -> None:
        """The server has sent something that nobody asked for."""
        del line
        self._host.pushed(message)

    def resumed(self, line: Line) -> None:
        """The line takes commands again."""
        if line is self.line:
            self._send_unsent()

    def lost(self, line: Line) -> None:
        """The line has ended."""
        if line is not self.line:
            return
        self.line = None
        self._salvage(line)
        if self._eager or self._unsent:
            self.wake()

    # ---- the end

    def in_flight(self) -> int:
        """How many callers wait here."""
        sent = self.line.expected if self.line is not None else ()
        gathered = len(self.waiters) + len(self.asks) + sum(len(waiters) for _, waiters in self._special.values())
        return gathered + sum(ask.size for ask in chain(sent, self._unsent) if ask.due < NEVER)

    def written(self) -> tuple[int, int]:
        """How many writes were made, and how many commands left in them."""
        line = self.line
        return (self.writes + line.writes, self.commands + line.commands) if line else (self.writes, self.commands)

    async def close(self, make: Callable[[], Exception]) -> None:
        """End everything; who waits is told."""
        self._closed = make
        if self._timer is not None:
            self._timer.cancel()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
            self._ending.add(connecting)
        if self._ending:
            await asyncio.wait(self._ending)
        if self.gathering:
            self._flush()
        line, self.line = self.line, None
        for ask in chain(line.expected if line is not None else (), self._unsent):
            ask.fail(make)
        self._unsent = []
        if line is not None:
            line.expected.clear()
            await close_line(line)


def _too_slow(deadline: float) -> Callable[[], DeadlinePassed]:
    return lambda: DeadlinePassed("redis", what="a command", deadline=deadline)
