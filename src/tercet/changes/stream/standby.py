"""What the server is told of how far we are, and when: also while nobody reads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tercet.changes.pgoutput import keepalive, status
from tercet.errors import StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

# A place that has moved is told of so soon after: many confirmations are one message, and little comes twice after a
# crash.
TELL_SECONDS = 0.1
# How often the server is told, and asked for an answer, when nothing moves. The answer says how far its log goes, so
# a slot moves on while only other databases write.
INTERVAL_SECONDS = 10.0
# The server ends a connection that it has not heard of for wal_sender_timeout: told so many times meanwhile.
TIMES_WITHIN_TIMEOUT = 3
# Without a sign of it for so long, the server is gone. One that works itself through a large transaction that nobody
# wants may be silent for long; the leader's own connection finds a frozen one much sooner.
SILENCE_SECONDS = 90.0


class Standby:
    """Tells the server how far we are, on a timer of its own, until it is closed.

    Nothing of it waits: a listener that takes its time does not keep the server from hearing that we are there.
    """

    def __init__(
        self,
        send: Callable[[bytes], None],
        fail: Callable[[Exception], None],
        read_at: Callable[[], float],
        *,
        timeout_seconds: float,
        at: int,
    ) -> None:
        """`read_at` is when the server has last sent anything, by the loop's time.

        `timeout_seconds` is the server's wal_sender_timeout, 0 for none; `at` is where the slot stands.
        """
        self._send, self._fail, self._read_at = send, fail, read_at
        self._loop = asyncio.get_running_loop()
        self._interval = min(INTERVAL_SECONDS, timeout_seconds / TIMES_WITHIN_TIMEOUT or INTERVAL_SECONDS)
        # How far the server has come, what of that was handed on, and what was taken care of.
        self._reached = self._handed = self.confirmed = at
        self._told = 0
        self._heard = self._loop.time()
        self._reading = False
        self._soon: asyncio.TimerHandle | None = None
        self._timer = self._loop.call_later(self._interval, self._beat)

    def reading(self, reading: bool) -> None:
        """Whether somebody reads now: only then is silence the server's."""
        self._heard = self._loop.time()
        self._reading = reading

    def handed(self, position: int) -> None:
        """What ends here was handed on, and counts once it is confirmed."""
        self._handed = max(self._handed, position)

    def reached(self, position: int) -> None:
        """All that was committed before here has come, and what was wanted of it was handed on."""
        if position > self._reached:
            self._reached = position
            self._rest()

    def keepalive(self, frame: bytes, *, between: bool) -> None:
        """The server says how far its log goes; `between` transactions, that is how far it was read."""
        said = keepalive(frame)
        if between:
            self.reached(said.end)
        if said.answer:
            self._tell()

    def confirm(self, position: int) -> None:
        """All up to here was taken care of."""
        self.confirmed = max(self.confirmed, position)
        self._rest()

    def close(self) -> None:
        """Tell the last that is known, and nothing more."""
        self._timer.cancel()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self.confirmed > self._told:
            self._tell()

    def _rest(self) -> None:
        """Nothing is in flight: where the server has come to is where we are."""
        if self.confirmed >= self._handed:
            self.confirmed = max(self.confirmed, self._reached)
        if self.confirmed > self._told and self._soon is None:
            self._soon = self._loop.call_later(TELL_SECONDS, self._tell)

    def _beat(self) -> None:
        silent = self._loop.time() - max(self._heard, self._read_at())
        if self._reading and silent > max(SILENCE_SECONDS, TIMES_WITHIN_TIMEOUT * self._interval):
            self._fail(StoreUnreachable("postgres", reason=f"it has been silent for {silent:.0f} s"))
            return
        self._timer = self._loop.call_later(self._interval, self._beat)
        self._tell(answer=True)

    def _tell(self, *, answer: bool = False) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._told = self.confirmed
        received = max(self._reached, self._handed, self.confirmed)
        try:
            self._send(
                status(
                    written=received,
                    flushed=self.confirmed,
                    applied=self.confirmed,
                    at=datetime.now(UTC),
                    answer=answer,
                )
            )
        except StoreUnreachable as error:
            self._fail(error)
