"""How far a reader of the change table is: by the snapshots that it has gone through."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """All that `past` sees is done; and of what only `within` sees, the transactions up to the change `last`.

    Ids of transactions and of changes do not grow in the order of the commits: whoever remembers only the largest one
    that was seen misses what commits later under a smaller one. A snapshot knows exactly what it sees.
    """

    past: str
    within: str | None = None
    last: int = 0

    def __str__(self) -> str:
        return self.past if self.within is None else f"{self.past}/{self.within}/{self.last}"

    @classmethod
    def read(cls, text: str) -> Place:
        """A place out of its own text; raises ValueError."""
        past, *rest = text.split("/")
        if past.count(":") != 2:  # noqa: PLR2004 - a snapshot's text is "xmin:xmax:xip"
            raise ValueError(f"{text!r} is no place in a table of changes")
        if not rest:
            return cls(past)
        within, last = rest
        return cls(past, within, int(last))
