"""How a subscription stands, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - a value's annotations can be read while it runs
from typing import Literal, TypeAlias

from tercet.changes.change import Position  # noqa: TC001 - as above

State: TypeAlias = Literal["following", "opening", "reading", "retrying", "lost", "away", "closed"]


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """How a subscription stands in this process."""

    place: str
    durable: bool
    # following: another process of the service reads it. opening: this one begins to. reading: it does. retrying: its
    # listener has failed and is asked again. lost: changes may be missing, and `resync` has not succeeded yet.
    # away: the store does not answer, or does not let us read.
    state: State
    # All before this was taken care of, as far as this process knows.
    position: Position | None = None
    # What the store keeps because this place has not read it, and what it keeps at most; None where nobody knows.
    lag_bytes: int | None = None
    keeps_bytes_max: int | None = None
    # When the last commit was made that was taken care of here, by the server's clock.
    last_commit: datetime | None = None
    # What this process has handed on: commits whole, rows, messages; and how often some may have been missed.
    commits: int = 0
    changes: int = 0
    messages: int = 0
    resyncs: int = 0
    # The class of the last error since all was well, and what it says.
    error: str | None = None
    says: str = ""

    @property
    def leading(self) -> bool:
        """Whether it is this process that reads."""
        return self.state in {"opening", "reading", "retrying", "lost"}
