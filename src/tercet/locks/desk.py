"""The three things that can be said of a lock to Redis: enter, renew, leave. One script, one round trip each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import DeadlinePassed, StoreError, StoreUnreachable
from tercet.wire import Script

if TYPE_CHECKING:
    from tercet.locks.name import LockName
    from tercet.locks.port import Link

# The last token outlives its grant by this: a lock that was forgotten goes on by the server's clock, and is above
# the old tokens unless that clock was set back by more.
FENCE_SECONDS = 30 * 86_400.0

# A connection stands still while replicas are waited for, and others share it.
COPIED_SECONDS = 0.2

# What a server says that will soon be another one, or the same again.
_PASSING = frozenset({"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY", "TRYAGAIN"})

_SCRIPT = Script.beside(__file__, "lock")

_FENCE_MS = f"{FENCE_SECONDS * 1000:.0f}"


@dataclass(frozen=True, slots=True)
class Granted:
    """The lock is ours; its token is above all earlier ones."""

    token: int


@dataclass(frozen=True, slots=True)
class Taken:
    """The lock is held by `holder`, whose lease ends in `seconds`; `before` others are before us in the line.

    `newest` is the token of the last grant: ours, when it comes, is above it.
    """

    seconds: float
    holder: bytes
    before: int
    newest: int


class Desk:
    """The script, spoken over one wire."""

    __slots__ = ("_prefix", "_wire")

    def __init__(self, wire: Link, prefix: bytes) -> None:
        self._wire = wire
        self._prefix = prefix

    async def enter(self, name: LockName, wish: bytes, *, keep: float, deadline: float | None) -> Granted | Taken:
        """Take the lock, or a place in the line that is kept for `keep` seconds; asked again, keep it on."""
        words = (b"enter", wish, _ms(keep), _FENCE_MS, self._prefix)
        answer = await self._wire.run(_SCRIPT, name.keys, words, deadline=deadline)
        if answer[0] == 1:
            return Granted(answer[1])
        _, milliseconds, holder, before, newest = answer
        return Taken(milliseconds / 1000, holder, before, newest)

    async def renew(self, name: LockName, wish: bytes, token: int, *, deadline: float | None = None) -> bool:
        """Hold it for another ttl; whether it was still ours to hold."""
        words = (b"renew", wish, token, _FENCE_MS, self._prefix)
        return bool(await self._wire.run(_SCRIPT, name.keys, words, deadline=deadline, always=True) == 1)

    async def leave(self, name: LockName, wish: bytes, token: int) -> bool:
        """Give the lock, or the place in the line, back; False when somebody else may have held it since the grant."""
        words = (b"leave", wish, token, _FENCE_MS, self._prefix)
        return bool(await self._wire.run(_SCRIPT, name.keys, words) >= 0)

    async def copy(self, name: LockName, wish: bytes, token: int, replicas: int) -> bool:
        """Renew, and wait until so many replicas have that; False when it is not ours any more."""
        # Asked in one tick, the two leave one after the other over one connection: WAIT speaks of what its own
        # connection has written.
        words = (b"renew", wish, token, _FENCE_MS, self._prefix)
        answer, copies = await asyncio.gather(
            self._wire.run(_SCRIPT, name.keys, words),
            self._wire.call("WAIT", replicas, _ms(COPIED_SECONDS), key=name.keys[0], deadline=2 * COPIED_SECONDS),
        )
        ours = bool(answer == 1)
        if ours and copies < replicas:
            what = f"the copying of {name} to {replicas} replicas (it has {copies})"
            raise DeadlinePassed("redis", what=what, deadline=COPIED_SECONDS)
        return ours


def is_passing(error: StoreError) -> bool:
    """Whether it may be over soon, so that somebody who waits can wait for that too."""
    return isinstance(error, StoreUnreachable | DeadlinePassed) or getattr(error, "code", None) in _PASSING


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"
