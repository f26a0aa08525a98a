"""What processes say of themselves in Redis, so that one can be asked how all of them do."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tercet.cache.shelf.gather import every
from tercet.errors import StoreError
from tercet.wire import Script

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.cache.shelf.layout import Layout
    from tercet.cache.shelf.port import Figures
    from tercet.clock import Clock
    from tercet.wire import Wire

# How often a process says what has changed: one small command, whatever the process does meanwhile.
TOLD_SECONDS = 2.0

# What has not changed is said again after this time, well before it no longer counts.
RESTING_SECONDS = 4.0

# A process that was not heard of for so long has ended, or does not reach Redis.
GONE_SECONDS = 10.0

# 64 random bits for each process: no two that live at a time are taken for one.
PROCESS_BYTES = 8

_REPORT = Script.beside(__file__, "report")


class _Said(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """What lies in Redis; later versions append fields with defaults."""

    pid: int
    host: str
    since_ms: int
    figures: dict[str, bool | int | float | None]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Said).decode


@dataclass(frozen=True, slots=True)
class Report:
    """What one process has said of its cache: who it is, and its figures by name."""

    pid: int
    host: str
    # Seconds since it made its cache, by its clock and the server's, and since it said this, by the server's.
    up_seconds: float
    told_seconds: float
    figures: Figures


class Census:
    """Says how this process does; what cannot be said is no harm, and is said the next time."""

    def __init__(self, wire: Wire, layout: Layout, *, clock: Clock) -> None:
        self._wire, self._layout, self._clock = wire, layout, clock
        self._since_ms = int(clock.now().timestamp() * 1000)
        self._pid, self._process = 0, ""
        self._next = self._said_at = float("-inf")
        self._said: Figures | None = None
        self.figures: Callable[[], Figures] | None = None

    async def tell(self) -> None:
        """Say it now, where it is time to."""
        now = self._clock.monotonic()
        if self.figures is None or now < self._next:
            return
        self._next = now + TOLD_SECONDS
        figures = self.figures()
        if figures == self._said and now < self._said_at + RESTING_SECONDS:
            return
        if self._pid != os.getpid():
            # A child that was forked is another process, and speaks for itself.
            self._pid, self._process = os.getpid(), secrets.token_hex(PROCESS_BYTES)
        said = _encode(_Said(self._pid, socket.gethostname(), self._since_ms, dict(figures)))
        try:
            await self._wire.run(
                _REPORT,
                [self._layout.figures, self._layout.told],
                [self._process, said, int(GONE_SECONDS * 1000)],
            )
        except StoreError:
            return
        self._said, self._said_at = figures, now


async def reports(wire: Wire, layout: Layout) -> tuple[Report, ...]:
    """What the processes have said lately, the one that lives longest first; raises a StoreError."""
    said, told, now = await every(
        (
            wire.call("HGETALL", layout.figures, key=layout.figures),
            wire.call("ZRANGE", layout.told, 0, -1, "WITHSCORES", key=layout.told),
            wire.call("TIME", key=layout.told),
        )
    )
    now_ms = int(now[0]) * 1000 + int(now[1]) / 1000
    found = []
    for process, told_ms in told:
        one = _read(said.get(process, b""))
        age = (now_ms - float(told_ms)) / 1000
        if one is not None and age < GONE_SECONDS:
            up = max(0.0, (now_ms - one.since_ms) / 1000)
            found.append(Report(one.pid, one.host, up, max(0.0, age), one.figures))
    return tuple(sorted(found, key=lambda one: -one.up_seconds))


def _read(said: bytes) -> _Said | None:
    """What a process said; None where another release has said it in another way."""
    try:
        return _decode(said)
    except (msgspec.MsgspecError, ValueError):
        return None
