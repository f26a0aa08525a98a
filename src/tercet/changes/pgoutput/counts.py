"""PostgreSQL's own counts: where something stands in its log, when it was committed, and by which transaction."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tercet.changes.pgoutput.message import broken

# PostgreSQL counts microseconds from here.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_HALF = 1 << 32
_LSN = re.compile("([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")

# The protocol tells 32 bits of a transaction's 64-bit id: after so many ids they begin again.
_ROUND = 1 << 32
_HALF_ROUND = 1 << 31


def lsn_text(lsn: int) -> str:
    """A log position as PostgreSQL writes it: "0/16B3748"."""
    return f"{lsn >> 32:X}/{lsn & (_HALF - 1):X}"


def lsn_read(text: str) -> int:
    """The number of a log position that PostgreSQL has written; raises ValueError."""
    found = _LSN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no log position")
    return int(found[1], 16) << 32 | int(found[2], 16)


def instant(microseconds: int) -> datetime:
    """PostgreSQL's microseconds since 2000 as a time in UTC; raises FeedBroken where that is no time of a commit."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise broken("a time that is none") from None


def microseconds_of(when: datetime) -> int:
    """A time as PostgreSQL's microseconds since 2000."""
    return (when - _EPOCH) // timedelta(microseconds=1)


class Widening:
    """Gives 32-bit ids their upper half: each means the one that is nearest to the newest seen.

    PostgreSQL never has two ids in use that are half a round or more apart, so the nearest is the right one, before
    and after the counter has begun again at its start, whichever way round two transactions commit.
    """

    __slots__ = ("_newest",)

    def __init__(self, near: int) -> None:
        """`near` is any 64-bit id of the server's present: the xmax of pg_current_snapshot(), for one."""
        self._newest = near

    def __call__(self, xid: int) -> int:
        """The 64-bit id that this one is the lower half of."""
        newest = self._newest
        wide = newest + (xid - newest + _HALF_ROUND) % _ROUND - _HALF_ROUND
        if wide > newest:
            self._newest = wide
        return wide if wide >= 0 else xid
