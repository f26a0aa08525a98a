"""What is handed to a consumer, how it went, and when it is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.address import mask
from tercet.changes.outbox.event import Unreadable
from tercet.errors import NotOpen, PoolExhausted, Refused, StoreUnreachable, TercetError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

State = Literal["waiting", "running", "done", "failed", "dead"]

# An event is tried that often before it is a dead letter: with the waits below, for about an hour and a half.
ATTEMPTS = 25
# The first wait, which doubles from attempt to attempt, and the longest.
WAIT_SECONDS = 0.5
WAIT_SECONDS_MAX = 300.0

# What is kept of an error's text; its class says most.
REASON_CHARS = 300
# What of it is looked through for secrets: a text may be of any length, and looking takes longer than reading.
READ_CHARS = 1_000

# Where a driver begins to quote the statement and its values, which may be anybody's.
_QUOTES = ("[SQL:", "[parameters:", "DETAIL:", "\n")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one consumer; the same `id` comes again when it is tried again."""

    # Of the event: the same for all its consumers.
    id: str
    consumer: str
    type: str
    key: str
    # 1 for the first.
    attempt: int
    emitted: datetime | None = None
    trace: str | None = None


@dataclass(slots=True, eq=False)
class Work:
    """A delivery while it is worked on, and what has become of it."""

    id: str
    consumer: str
    type: str
    key: str
    content: bytes
    # How often it was tried and has failed; an attempt while the consumer's store was away does not count.
    attempts: int = 0
    state: State = "waiting"
    # Seconds until it is tried again, and what went wrong.
    wait: float = 0.0
    error: str = ""
    reason: str = ""
    # Whether the row that keeps it is ours for now.
    leased: bool = False

    @property
    def lane(self) -> tuple[str, str]:
        """What is handled in order: one consumer's events of one key."""
        return self.consumer, self.key

    def failed(self, error: BaseException, *, attempts: int, chance: float) -> None:
        """It went wrong: it waits, or it is dead. `chance`, from 0 to 1, spreads the waits."""
        self.error, self.reason = type(error).__name__[:REASON_CHARS], reason_of(error)
        if not isinstance(error, StoreUnreachable | PoolExhausted):
            self.attempts += 1
        if permanent(error) or self.attempts >= attempts:
            self.state = "dead"
        else:
            self.state = "failed"
            self.wait = backoff(self.attempts, chance)

    def undelivered(self, why: Unreadable) -> None:
        """It cannot be read: it is dead without having been tried."""
        self.state, self.error, self.reason = "dead", "Unreadable", str(why)[:REASON_CHARS]


def backoff(attempts: int, chance: float) -> float:
    """Seconds to wait after so many attempts: half of it fixed and half by chance, doubling up to a bound."""
    # Beyond 2^20 the bound holds long since, and a float would overflow.
    most = min(WAIT_SECONDS * 2.0 ** min(max(attempts - 1, 0), 20), WAIT_SECONDS_MAX)
    return most * (0.5 + chance / 2)


def permanent(error: BaseException) -> bool:
    """Whether trying again cannot help: the program is wrong, or said no for good."""
    if isinstance(error, NotOpen):
        # A handler that is at it while its Tercet is being closed; another process, or the next one, can.
        return False
    if isinstance(error, Unreadable | UsageError):
        return True
    return isinstance(error, Refused) and not error.retryable


def reason_of(error: BaseException) -> str:
    """The error's text in one bounded line, without what could be a password or somebody's values."""
    text = error.says if isinstance(error, TercetError) else str(error)
    for mark in _QUOTES:
        text = text.partition(mark)[0]
    return mask(text[:READ_CHARS].replace("\0", " ")).strip()[:REASON_CHARS]
