"""The events: frozen values without secrets, named after what has happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Store = Literal["postgres", "mongo", "redis"]
Outcome = Literal["ok", "failed", "timeout", "cancelled"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened."""


@dataclass(frozen=True, slots=True)
class Operation(Event):
    """A piece of work has ended: `room` did `name`, on `store` if on any, in `seconds`."""

    room: str
    name: str
    seconds: float
    outcome: Outcome
    store: Store | None = None
    # The class of the error, never its text: texts may carry addresses and values.
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectionWaited(Event):
    """A caller has waited for a connection out of a pool of `size`, and got it or not."""

    store: Store
    seconds: float
    outcome: Outcome
    size: int


@dataclass(frozen=True, slots=True)
class CacheRead(Event):
    """A value was asked of a cache; `tier` is where it was found, or the loader that made it.

    `stale` was shown after its end; `joined` has waited for a load that somebody else had begun.
    """

    cache: str
    tier: Literal["memory", "redis", "loader"]
    seconds: float
    outcome: Outcome
    stale: bool = False
    joined: bool = False


@dataclass(frozen=True, slots=True)
class CacheNoted(Event):
    """Something has happened in a cache that is no read, `count` times; `cache` says to whose values, if to some.

    A drop that Redis did not take is kept, and delivered later; names, tags and patterns are counted.
    """

    what: Literal["late fill refused", "early refresh", "drop kept", "drop delivered"]
    cache: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class CacheState(Event):
    """How a cache on Redis stands in this process, told every other second or so while it is in use."""

    namespace: str
    # Memory: how much is there, and how much had to make room since the cache was made.
    entries: int
    bytes: int
    evicted: int
    # Loads under way, and whether memory may answer by itself.
    loading: int
    trusted: bool
    # How far behind the last drop was heard, and how many drops Redis does not know of.
    bus_lag_seconds: float | None
    undelivered: int


@dataclass(frozen=True, slots=True)
class ChangesHeard(Event):
    """A listener has taken care of what was committed: so many commits with so many rows and messages, in `seconds`.

    A commit that comes in parts counts once, with its last.
    """

    place: str
    commits: int
    changes: int
    seconds: float
    # From the last one's commit, by the server's clock, until it was taken care of.
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class FeedState(Event):
    """How a feed of changes stands in this process, told whenever that changes and every few seconds besides."""

    place: str
    # "following": another process of the service reads it. "retrying": the listener has failed, and is asked again.
    state: Literal["following", "opening", "reading", "retrying", "lost", "away", "closed"]
    # What the server keeps because this place has not read it, and what it may keep at most; where that is known.
    lag_bytes: int | None = None
    keeps_bytes_max: int | None = None
    # How often changes may have been missed since the feed was made, and the class of the last error.
    resyncs: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class WireWrote(Event):
    """What so many callers have asked for in one tick of the loop has left for Redis in one write."""

    callers: int


@dataclass(frozen=True, slots=True)
class LimitChecked(Event):
    """A call was let through by a limit or refused; `checked` is false where Redis could not be asked."""

    limit: str
    outcome: Literal["allowed", "refused"]
    checked: bool


@dataclass(frozen=True, slots=True)
class SessionRefused(Event):
    """A session was there and was not handed out.

    `replayed`: an id came back after it had been replaced, so two have had it. `misfit`: its data has another
    shape than the type that is asked for. `revoked` says whether the session was ended for it.
    """

    reason: Literal["replayed", "misfit"]
    handle: str
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class ServerChanged(Event):
    """An embedded server has come up or gone down."""

    store: Store
    state: Literal["started", "stopped", "failed"]
    seconds: float
