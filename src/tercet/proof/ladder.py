"""The ladder: one question, answered in ever faster ways, every figure with what it costs in freshness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from tercet.errors import DocumentInvalid, ProofFailed, UsageError
from tercet.proof.machine import Machine  # noqa: TC001 - msgspec reads the types of _Document when it runs
from tercet.proof.rows import checksum
from tercet.proof.sample import Timing  # noqa: TC001 - as above
from tercet.proof.svg import Bar, Picture, draw
from tercet.proof.verdict import times
from tercet.units import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tercet.proof.sample import Sample

# Changes when a reader of today could not read the document any more.
FORMAT = "tercet.ladder/1"

_HEADER = ("rung", "rows", "median", "p95", "vs rung 0", "stale after a committed write")
_TO_THE_RIGHT = frozenset({1, 2, 3, 4})
_GAP = "   "
_SUBTITLE = (
    "Median time of one answer on a logarithmic scale; the thin line reaches to the 95th percentile. "
    "Stale: how long the old answer can still be seen after a committed write."
)
_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Rung:
    """One way of answering: its times, its rows, and how long it can show an old answer.

    `stale` says it in words; `stale_seconds` is what was measured, where a number says it.
    """

    number: int
    name: str
    timing: Timing
    rows: int
    checksum: str
    stale: str = ""
    stale_seconds: float | None = None

    @classmethod
    def of(
        cls,
        number: int,
        name: str,
        sample: Sample[Iterable[object]],
        *,
        stale: str = "",
        stale_seconds: float | None = None,
    ) -> Rung:
        """The rung of a sample whose answer are its rows."""
        rows = list(sample.answer)
        return cls(number, name, sample.timing, len(rows), checksum(rows), stale, stale_seconds)


@dataclass(frozen=True, slots=True)
class Table:
    """The ladder as texts: a header, a row for each rung, and what they have in common."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    foot: str

    def __str__(self) -> str:
        """The table in plain text, numbers to the right."""
        lines = (self.header, *self.rows)
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.header))]
        shown = [
            _GAP.join(
                text.rjust(width) if at in _TO_THE_RIGHT else text.ljust(width)
                for at, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join((*shown, self.foot))


@dataclass(frozen=True, slots=True)
class Ladder:
    """All rungs of one run, on one machine, over the same data; the others are held against the first.

    `data` says what was asked: a number under its unit ({"orders": 5_000_000}), a text under its name.
    """

    rungs: tuple[Rung, ...]
    machine: Machine
    data: Mapping[str, int | str]
    at: datetime
    title: str = "One question, climbed rung by rung"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rungs", tuple(self.rungs))
        object.__setattr__(self, "data", dict(self.data))
        if not self.rungs:
            raise UsageError("A ladder without rungs was made.", "Give it one at least.")
        numbers = [rung.number for rung in self.rungs]
        if numbers != sorted(set(numbers)):
            raise UsageError(f"The rungs are numbered {numbers}.", "Number them upwards, each once.")
        if self.at.utcoffset() is None:
            raise UsageError("The ladder's moment has no time zone.", "Give datetime.now(UTC).")
        for rung in self.rungs:
            _check(rung)

    @property
    def differing(self) -> tuple[Rung, ...]:
        """The rungs that do not return the first one's rows."""
        first = self.rungs[0]
        wanted = (first.rows, first.checksum)
        return tuple(rung for rung in self.rungs if (rung.rows, rung.checksum) != wanted)

    @property
    def claim(self) -> str:
        """What is true of the rows: that they are the same on every rung, or which rung differs."""
        first = self.rungs[0]
        if self.differing:
            which = ", ".join(f"{rung.number} ({rung.rows} rows, {rung.checksum[:12]}…)" for rung in self.differing)
            plural = "rungs" if len(self.differing) > 1 else "rung"
            return (
                f"NOT the same rows: {plural} {which} against rung {first.number} "
                f"({first.rows} rows, {first.checksum[:12]}…)"
            )
        rows = f"{first.rows:,} {'row' if first.rows == 1 else 'rows'}".replace(",", "\u202f")
        return f"same {rows} on every rung     sha256 {first.checksum}"

    def ratio(self, rung: Rung) -> float:
        """How many times faster than the first a rung is."""
        return self.rungs[0].timing.median / rung.timing.median

    def required(self, at_least: Mapping[int, float] | None = None) -> Ladder:
        """This ladder, if every rung returns the same rows and is so many times faster; else ProofFailed.

        `at_least` maps the number of a rung to the ratio that it must reach.
        """
        if self.differing:
            raise ProofFailed(
                f"{self.claim}.", verdict=self, mend="Look at what those rungs answer: one of them is wrong."
            )
        for rung in self.rungs:
            wanted = (at_least or {}).get(rung.number)
            if wanted is not None and self.ratio(rung) < wanted:
                raise ProofFailed(
                    f"Rung {rung.number} ({rung.name}) is {times(self.ratio(rung))} faster than rung "
                    f"{self.rungs[0].number}, and {times(wanted)} was asked for.",
                    verdict=self,
                )
        return self

    def table(self) -> Table:
        """The ladder as a header, rows of texts, and a last line; it never claims what is not so."""
        header = tuple(word.replace("rung 0", f"rung {self.rungs[0].number}") for word in _HEADER)
        rows = tuple(
            (
                f"{rung.number} {rung.name}",
                f"{rung.rows:,}".replace(",", "\u202f"),
                duration(rung.timing.median),
                duration(rung.timing.p95),
                times(self.ratio(rung)),
                rung.stale,
            )
            for rung in self.rungs
        )
        return Table(header, rows, self.claim)

    def json(self) -> bytes:
        """The ladder as a document that `read` takes; times are in seconds."""
        document = _Document(FORMAT, self.title, self.at.astimezone(UTC), self.machine, dict(self.data), self.rungs)
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"

    @classmethod
    def read(cls, document: bytes | str) -> Ladder:
        """The ladder in a document that `json` has written. Raises DocumentInvalid."""
        mend = "Give the bytes of a ladder.json."
        try:
            found = msgspec.json.decode(document, type=_Document)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise DocumentInvalid("a ladder", reason=str(error).rstrip("."), mend=mend) from error
        if found.format != FORMAT:
            raise DocumentInvalid("a ladder of this version", reason=f"it says {found.format!r}", mend=mend)
        return cls(found.rungs, found.machine, found.data, found.at, found.title)

    def svg(self) -> str:
        """The ladder as a picture."""
        bars = tuple(
            Bar(
                str(rung.number),
                rung.name,
                rung.timing.median,
                rung.timing.p95,
                times(self.ratio(rung)),
                rung.stale,
            )
            for rung in self.rungs
        )
        notes = (self.data_line, self.machine.line, f"{self.at.astimezone(UTC):%-d %B %Y, %H:%M} UTC")
        against = f"vs rung {self.rungs[0].number}"
        claim = self.claim.replace("     ", " · ")
        return draw(Picture(self.title, _SUBTITLE, bars, claim, not self.differing, notes, against))

    @property
    def data_line(self) -> str:
        """What was asked, in one line: "1 000 000 users · 5 000 000 orders · seed 7"."""
        return " · ".join(
            f"{name} {value}" if isinstance(value, str) else f"{value:,} {name}".replace(",", "\u202f")
            for name, value in self.data.items()
        )


@dataclass(frozen=True, slots=True)
class _Document:
    """The ladder's JSON."""

    format: str
    title: str
    at: datetime
    machine: Machine
    data: dict[str, int | str]
    rungs: tuple[Rung, ...]


def _check(rung: Rung) -> None:
    shown = (rung.timing.median, rung.timing.p95, rung.timing.best)
    if not all(math.isfinite(value) and value > 0 for value in shown):
        mend = "Sample what is too quick for the clock in batches."
        raise UsageError(f"Rung {rung.number} ({rung.name}) has a time that is not above zero.", mend)
    if len(rung.checksum) != _SHA256_DIGITS or rung.rows < 0:
        mend = "Make it with Rung.of, or give checksum(rows) and their number."
        raise UsageError(f"Rung {rung.number} ({rung.name}) has no checksum of its rows.", mend)
