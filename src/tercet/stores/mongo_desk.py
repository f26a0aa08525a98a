"""What goes on in one MongoDB client: its operations, its pool, and what its errors mean."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any, cast

from pymongo import errors, monitoring

from tercet.errors import (
    DeadlinePassed,
    LoginRefused,
    NotOpen,
    PoolExhausted,
    StoreError,
    StoreUnreachable,
    TercetError,
)
from tercet.stores.both import both, why
from tercet.stores.holders import here

if TYPE_CHECKING:
    from tercet.settings import Settings
    from tercet.stores.lane import Lane
    from tercet.telemetry.event import Outcome

Task = asyncio.Task[Any]

# MongoDB's own numbers for: not authorized, authentication failed, bad credentials of a cloud service.
_LOGIN_CODES = frozenset({13, 18, 8000})


class Operation:
    """One operation under way: who runs it, what can end it from outside, and why it did."""

    __slots__ = ("because", "limit", "outer", "taken", "task", "timer", "waiting_since")

    def __init__(self, task: Task, limit: asyncio.Timeout, outer: Operation | None) -> None:
        self.task, self.limit, self.outer = task, limit, outer
        self.because: TercetError | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waiting_since: float | None = None
        self.taken: list[tuple[object, int]] = []

    def end(self, because: TercetError) -> None:
        """Stop waiting now; the caller gets `because`."""
        if self.because is None:
            self.because = because
            self.limit.reschedule(asyncio.get_running_loop().time())


class Desk(monitoring.ConnectionPoolListener):
    """Watches one client's pool and operations."""

    def __init__(self, lane: Lane[tuple[object, int]], settings: Settings, address: str) -> None:
        self.lane, self._settings, self._address = lane, settings, address
        # The operations under way, by the task that runs them: PyMongo tells its pool's events in that task.
        self._under_way: dict[Task, Operation] = {}
        self.made = 0

    def begin(self, limit: asyncio.Timeout) -> Operation:
        """Note an operation of this task; operations nest."""
        self.lane.check()
        task = cast("Task", asyncio.current_task())
        operation = Operation(task, limit, self._under_way.get(task))
        self._under_way[task] = operation
        return operation

    def finish(self, operation: Operation) -> None:
        """Note that an operation has ended."""
        # PyMongo tells nothing of a wait that is cancelled.
        outcome: Outcome = "timeout" if isinstance(operation.because, PoolExhausted) else "cancelled"
        self._waited(operation, outcome)
        if operation.outer is not None:
            self._under_way[operation.task] = operation.outer
        else:
            del self._under_way[operation.task]

    def abandon(self, operation: Operation) -> None:
        """Note that an operation was cancelled: PyMongo takes its connection back without always telling."""
        for connection in operation.taken:
            self.lane.holders.give(connection)

    def end_all(self) -> None:
        """End every operation that is still under way: the store is being closed."""
        for operation in tuple(self._under_way.values()):
            operation.end(NotOpen("This Tercet", closed=True))

    def joined(self, operation: Operation, error: Exception) -> Exception:
        """Both errors in one, or the driver's own where that says it best."""
        if isinstance(error, errors.PyMongoError):
            meant = operation.because or (None if isinstance(error, TercetError) else self._meaning(error))
            return both(meant, error) if meant else error
        if operation.because is None:
            return error
        return both(operation.because, errors.WaitQueueTimeoutError(operation.because.says))

    def connection_check_out_started(
        self,
        event: monitoring.ConnectionCheckOutStartedEvent,  # noqa: ARG002 - PyMongo's signature
    ) -> None:
        """A caller begins to wait for a connection."""
        operation = self._current()
        if operation is not None:
            loop = asyncio.get_running_loop()
            operation.waiting_since = loop.time()
            operation.timer = loop.call_later(self._settings.mongo_pool_wait, self._waited_long, operation)
            self.lane.waiting += 1

    def _waited_long(self, operation: Operation) -> None:
        # With a limit for the whole operation PyMongo waits for its pool as long as that, which is too long.
        if len(self.lane.holders) >= self.lane.budget.size:
            operation.end(self.lane.exhausted(self._settings.mongo_pool_wait))

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """A caller has got a connection."""
        operation, connection = self._current(), (event.address, event.connection_id)
        self._waited(operation, "ok")
        self.lane.holders.take(connection, here())
        if operation is not None:
            operation.taken.append(connection)

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """A caller has not got a connection."""
        timeout = event.reason == monitoring.ConnectionCheckOutFailedReason.TIMEOUT
        self._waited(self._current(), "timeout" if timeout else "failed")

    def _waited(self, operation: Operation | None, outcome: Outcome) -> None:
        if operation is None or operation.waiting_since is None or operation.timer is None:
            return
        operation.timer.cancel()
        waited = asyncio.get_running_loop().time() - operation.waiting_since
        operation.waiting_since = None
        self.lane.waiting -= 1
        self.lane.told(waited, outcome)

    def _current(self) -> Operation | None:
        task = asyncio.current_task()
        return self._under_way.get(task) if task else None

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        """A connection is back."""
        self.lane.holders.give((event.address, event.connection_id))

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:  # noqa: ARG002 - as above
        """There is one connection more."""
        self.made += 1

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:  # noqa: ARG002 - as above
        """There is one connection less."""
        self.made -= 1

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """Nothing depends on it."""

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Nothing depends on it."""

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Nothing depends on it."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Nothing depends on it."""

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Nothing depends on it."""

    def _meaning(self, error: errors.PyMongoError) -> StoreError | None:
        if isinstance(error, errors.WaitQueueTimeoutError):
            return self.lane.exhausted(self._settings.mongo_pool_wait)
        return meaning(error, self._address, self._settings.mongo_timeout)


def meaning(error: errors.PyMongoError, address: str, limit: float) -> StoreError | None:
    """What a driver's error means for the caller, or None where the driver's own says it best."""
    match error:
        case errors.NetworkTimeout() | errors.ExecutionTimeout():
            return DeadlinePassed("mongo", what="an operation", deadline=limit)
        case errors.OperationFailure() if error.code in _LOGIN_CODES:
            return LoginRefused("mongo", reason="it does not accept this login", address=address)
        case errors.ConnectionFailure():
            return StoreUnreachable("mongo", reason=_reason(error), address=address)
    return None


def _reason(error: errors.ConnectionFailure) -> str:
    if isinstance(error, errors.NotPrimaryError):
        return "there is no primary right now"
    if "Authentication" in str(error):
        return "it does not accept this login"
    # PyMongo makes texts of what happened on the way to each server; only the kind is told on.
    text = str(error)
    if "refused" in text or f"[Errno {errno.ECONNREFUSED}]" in text:
        return "the connection is refused"
    return "no server was found in time" if isinstance(error, errors.ServerSelectionTimeoutError) else why(error)
