"""What was found about a question and about two ways of asking it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# ties: under a LIMIT. kept: which row DISTINCT ON keeps. places: which of equal rows a window function puts first.
FindingKind = Literal[
    "ties", "kept", "places", "nulls_first", "volatile", "float_sum", "unordered_aggregate", "time_zone", "bounds"
]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a question that leaves its answer open, or that few mean; `mend` is what to write instead."""

    kind: FindingKind
    what: str
    mend: str = ""
    # Two runs may give different rows; otherwise it is only likely to be another question than was meant.
    open: bool = True
    # In the outermost query, whose rows people see.
    top: bool = True

    def sentence(self) -> str:
        """Both in one line."""
        return f"{self.what}: {self.mend}" if self.mend else self.what


@dataclass(frozen=True, slots=True)
class Counterexample:
    """Rows for which two statements answer differently, made as small as could be, and both answers."""

    inserts: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of trying to refute that two statements ask the same.

    same: no data told them apart. refuted: the counter-example does. undetermined: they differ only in rows that
    the first one leaves open by itself. unchecked: nobody could try; `why` says the reason.
    """

    outcome: Literal["same", "refuted", "undetermined", "unchecked"]
    # Sets of data on which both answered.
    tried: int = 0
    # Rows that the first statement gave over all of them: none would prove nothing.
    rows: int = 0
    why: str = ""
    counterexample: Counterexample | None = None
