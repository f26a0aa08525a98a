"""The hub: whoever listens is told; nobody who tells can be hurt by a listener."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tercet.errors import DeadlinePassed, PoolExhausted
from tercet.telemetry.event import Event, Operation, Outcome, Store

Listener = Callable[[Event], None]

_log = logging.getLogger("tercet.telemetry")


class Telemetry:
    """Tells events to its listeners, in the thread and at the moment in which they happen.

    A listener must be quick and must not block. One that raises is logged and goes on being told.
    """

    __slots__ = ("_ears", "heard")

    # Whether anybody listens. A hot path asks before it makes an event, so it is an attribute and no question.
    heard: bool

    def __init__(self) -> None:
        self._ears: tuple[_Ear, ...] = ()
        self.heard = False

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` every event from now on; call what is returned to end it (twice is fine)."""
        ear = _Ear(listener)
        self._hold((*self._ears, ear))

        def end() -> None:
            self._hold(tuple(one for one in self._ears if one is not ear))

        return end

    def _hold(self, ears: tuple[_Ear, ...]) -> None:
        self._ears = ears
        self.heard = bool(ears)

    def tell(self, event: Event) -> None:
        """Tell everybody who listens that this has happened."""
        for ear in self._ears:
            try:
                ear.listener(event)
            except Exception:  # noqa: BLE001 - whatever it is, it is the listener's fault, and it is logged
                _log.exception("a telemetry listener failed on %s", type(event).__name__)

    @contextmanager
    def operation(self, room: str, name: str, *, store: Store | None = None) -> Iterator[None]:
        """Tell an Operation when the block ends, however it ends."""
        if not self._ears:
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


class _Ear:
    """One listening; a listener that listens twice has two, and each ends for itself."""

    __slots__ = ("listener",)

    def __init__(self, listener: Listener) -> None:
        self.listener = listener


def _outcome(caught: BaseException) -> Outcome:
    if isinstance(caught, asyncio.CancelledError):
        return "cancelled"
    return "timeout" if isinstance(caught, TimeoutError | DeadlinePassed | PoolExhausted) else "failed"
