"""A place in a store's log that a reader wants to have reached: handed from whoever wrote to whoever reads."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tercet.errors import UsageError

# A source is a store and its id; the place is 64 bits.
_TEXT = re.compile(r"(?P<source>(?:pg|mongo):[!-?A-~]{0,200})@(?P<at>[0-9A-F]{1,16})", re.ASCII)
_LSN = re.compile(r"(?P<high>[0-9A-Fa-f]{1,8})/(?P<low>[0-9A-Fa-f]{1,8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReadToken:
    """What a reader must be able to see; `str()` gives a text for a header or a cookie, `read` takes it back."""

    # Whose log: "pg:" and PostgreSQL's system identifier, or "mongo:" and the replica set; see Moment.
    source: str
    # PostgreSQL: the position in its log (LSN). MongoDB: the operation's time, its seconds in the upper 32 bits.
    at: int

    def __str__(self) -> str:
        return f"{self.source}@{self.at:X}"

    @classmethod
    def read(cls, text: str) -> ReadToken:
        """A token out of its text; raises UsageError. A text from outside can name any place: see `reading`."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise UsageError("This text is no read token.", "Hand on what str(token) gave, unchanged.")
        return cls(match["source"], int(match["at"], 16))

    @classmethod
    def at_lsn(cls, source: str | None, lsn: str) -> ReadToken:
        """A place in PostgreSQL's log, written as PostgreSQL writes it; raises ValueError."""
        return cls(source or UNNAMED, lsn_number(lsn))


# A server of PostgreSQL that does not say who it is.
UNNAMED = "pg:"


def lsn_number(lsn: str) -> int:
    """The bytes of log up to this place, "16/B374D848"; raises ValueError."""
    match = _LSN.fullmatch(lsn)
    if match is None:
        raise ValueError(f"{lsn!r} is not a log position")
    return int(match["high"], 16) << 32 | int(match["low"], 16)
