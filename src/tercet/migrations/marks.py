"""The comment by which an index that was advised is known again, later and by others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

_HEAD = "tercet advice:"
_FORM = re.compile(
    rf"{re.escape(_HEAD)} (?P<day>\d{{4}}-\d\d-\d\d) size=(?P<size>\d+) reads=(?P<reads>-?\d+)"
    r" helps=(?P<helps>[\w,-]*)(?: .*)?"
)
# More fingerprints than these say no more; a comment is read by people too.
_HELPS_MAX = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """When an index was made on advice, what it was to take, and the fingerprints of the statements it was to help.

    No statement's text is in it: comments can be read by everybody who can connect.
    """

    day: date
    size_bytes: int = 0
    helps: tuple[str, ...] = ()
    # Reads that were our own, of proving it or (a view's) of building it; below zero where building took fewer than
    # are taken off for its upkeep.
    reads: int = 0

    def text(self) -> str:
        """The comment."""
        helps = ",".join(self.helps[:_HELPS_MAX])
        return f"{_HEAD} {self.day.isoformat()} size={self.size_bytes} reads={self.reads} helps={helps}"

    @classmethod
    def read(cls, comment: str) -> Mark | None:
        """What such a comment says; None for any other."""
        match = _FORM.fullmatch(comment)
        if match is None:
            return None
        try:
            day = date.fromisoformat(match["day"])
        except ValueError:
            return None
        return cls(day, int(match["size"]), tuple(filter(None, match["helps"].split(","))), int(match["reads"]))
