"""The statements that matter, folded by what they share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tercet.sql import Statement

# SELECT … FOR UPDATE and its like; constants are no part of what is looked at.
_LOCKING = re.compile(r"\bfor\s+(?:no\s+key\s+|key\s+)?(?:update|share)\b", re.IGNORECASE)

# More than this shows nothing that these do not: one for each class of values is what plans depend on.
EXAMPLES_MAX = 8


@dataclass(frozen=True, slots=True)
class Example:
    """One text in which a statement was, or may be, asked.

    With `$1` left in it, it can only be planned generically. `weight` is its share among the examples of its
    query; they come to 1.
    """

    sql: str
    weight: float = 1.0
    # given: seen like this; the others put values of the statistics into $1: a frequent one, a rare one, one outside.
    origin: Literal["given", "generic", "common", "rare", "beyond"] = "given"


@dataclass(frozen=True, slots=True)
class Query:
    """All statements of one fingerprint: how often they are asked, how long they take, and examples of them."""

    statement: Statement
    examples: tuple[Example, ...]
    calls: float = 1.0
    # Mean milliseconds of one call as somebody measured it; None where nobody did.
    ms: float | None = None
    # Mean rows of one call.
    rows: float | None = None
    # A person's name for it (the file's, a comment's), else its first words.
    label: str = ""
    # Where in the program it is asked ("shop/orders.py:88").
    sites: tuple[str, ...] = ()
    # The search_path under which it is asked, if that is another than the connection's.
    search_path: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What it is known by."""
        return self.statement.fingerprint

    @property
    def sql(self) -> str:
        """The text that speaks for all of them."""
        return self.statement.text

    @property
    def total_ms(self) -> float | None:
        """All calls together; None where no time is known."""
        return None if self.ms is None else self.ms * self.calls

    @property
    def reading(self) -> bool:
        """Whether it only asks, and locks no rows."""
        only = self.statement.kind in {"select", "with"} and not self.statement.writes
        return only and _LOCKING.search(self.statement.normalized) is None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A statement that could not be taken up, and why."""

    sql: str
    why: str


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked of a database, the heaviest first."""

    queries: tuple[Query, ...]
    # "pg_stat_statements", "slow.sql", "stdin" …
    source: str
    skipped: tuple[Skipped, ...] = ()
    # Over how long the calls were counted; None if nobody knows.
    seconds: float | None = field(default=None)
    # How many fingerprints there were before the heaviest were taken, and the share of all time that those have.
    fingerprints: int = 0
    share: float = 1.0
