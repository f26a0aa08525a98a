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
    """A value was asked of a cache; `tier` is where it was found, or the loader that made it."""

    cache: str
    tier: Literal["memory", "redis", "loader"]
    seconds: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class LimitChecked(Event):
    """A call was let through by a limit or refused; `checked` is false where Redis could not be asked."""

    limit: str
    outcome: Literal["allowed", "refused"]
    checked: bool


@dataclass(frozen=True, slots=True)
class ServerChanged(Event):
    """An embedded server has come up or gone down."""

    store: Store
    state: Literal["started", "stopped", "failed"]
    seconds: float
