"""The hub: whoever listens is told; nobody who tells can be hurt by a listener."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tercet.telemetry.event import Event, Operation, Outcome, Store

Listener = Callable[[Event], None]

_log = logging.getLogger("tercet.telemetry")


class Telemetry:
    """Tells events to its listeners, in the thread and at the moment in which they happen.

    A listener must be quick and must not block. One that raises is logged and goes on being told.
    """

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    @property
    def heard(self) -> bool:
        """Whether anybody listens; a hot path asks before it makes an event."""
        return bool(self._listeners)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` every event from now on; call what is returned to end it (twice is fine)."""
        self._listeners = (*self._listeners, listener)

        def end() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)

        return end

    def tell(self, event: Event) -> None:
        """Tell everybody who listens that this has happened."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                _log.exception("a telemetry listener failed on %s", type(event).__name__)

    @contextmanager
    def operation(self, room: str, name: str, *, store: Store | None = None) -> Iterator[None]:
        """Tell an Operation when the block ends, however it ends."""
        if not self._listeners:
            yield
            return
        started = time.perf_counter()
        outcome: Outcome = "ok"
        error: str | None = None
        try:
            yield
        except BaseException as caught:
            outcome, error = _outcome(caught), type(caught).__name__
            raise
        finally:
            self.tell(Operation(room, name, time.perf_counter() - started, outcome, store, error))


def _outcome(caught: BaseException) -> Outcome:
    if isinstance(caught, asyncio.CancelledError):
        return "cancelled"
    return "timeout" if isinstance(caught, TimeoutError) else "failed"
