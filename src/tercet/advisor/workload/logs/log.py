"""A server's logs read line by line into a workload."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.advisor.workload.folding import SHARE, TOP, Folding
from tercet.advisor.workload.logs import csvlog, jsonlog, stderr
from tercet.advisor.workload.logs.lines import lines
from tercet.advisor.workload.logs.message import asked
from tercet.advisor.workload.logs.record import MOMENT, Tally
from tercet.errors import DocumentInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tercet.advisor.port import Progress
    from tercet.advisor.query import Workload
    from tercet.advisor.workload.logs.record import Record

# So many lines tell the form of a log; the first ones of a file may be the end of an entry.
_LOOKED_AT = 50


def from_log(
    paths: Iterable[str | Path],
    *,
    database: str | None = None,
    top: int = TOP,
    share: float = SHARE,
    on_progress: Progress | None = None,
) -> Workload:
    """The heaviest statements of a server's logs: stderr, csvlog or jsonlog, packed by gzip or not, or folders of them.

    Entries are those of log_min_duration_statement, log_statement and auto_explain, their parameters put in. With
    `database`, those of other databases are left out where the log tells whose they are. Lines that cannot be read
    are counted and told. Memory does not grow with the log. Raises DocumentInvalid for a path that is not there.
    """
    given = [Path(path) for path in paths]
    folding, tally, span = Folding(), Tally(), _Span()
    statements = 0
    for file in [file for path in given for file in _files(path)]:
        for record in _records(file, tally, on_progress, named=file in given):
            if database is not None and record.database not in {None, database}:
                continue
            one = asked(record)
            if one is not None:
                statements += 1
                span.add(record.at)
                folding.add(one)
    _say(folding, tally, statements)
    source = ", ".join(path.name or str(path) for path in given)
    return folding.workload(source, top=top, share=share, seconds=span.seconds)


def _records(file: Path, tally: Tally, on_progress: Progress | None, *, named: bool) -> Iterator[Record]:
    """The entries of a file; one that was not `named` itself may have been taken away meanwhile."""
    try:
        whole = file.stat().st_size

        def told(done: int) -> None:
            if on_progress is not None:
                on_progress(f"reading {file.name}", done, whole)

        source = lines(file, tally, told)
        first = list(islice(source, _LOOKED_AT))
        yield from _reader(first)(chain(first, source), tally)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not named:
            tally.gone += 1
            return
        mend = "Name a file that can be read."
        raise DocumentInvalid(f"the log {file}", reason=error.strerror or str(error), mend=mend) from error


def _reader(first: list[str]) -> Callable[[Iterator[str], Tally], Iterator[Record]]:
    """Who reads a log that begins like this."""
    if any(line.startswith("{") and line.endswith("}") for line in first):
        return jsonlog.read
    # In stderr's form the level follows the prefix, in csvlog's it stands between commas.
    if any(csvlog.HEAD.match(line) and line.count(",") > csvlog.COMMAS_MIN for line in first):
        return csvlog.read
    return stderr.read


def _files(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        there = path.exists()
    except OSError as error:
        mend = "Name a log that this user may read."
        raise DocumentInvalid(f"the log {path}", reason=error.strerror or str(error), mend=mend) from error
    if not there:
        mend = "Name a log of PostgreSQL, or the folder that it writes them to."
        raise DocumentInvalid(f"the log {path}", reason="there is no such file or folder", mend=mend)
    return [path]


def _say(folding: Folding, tally: Tally, statements: int) -> None:
    """What a person should know of the reading."""
    if tally.broken:
        folding.skip("", f"{tally.broken:,} lines of the log could not be read")
    if tally.garbled:
        folding.skip("", f"{tally.garbled:,} lines of the log are not UTF-8; what could not be decoded is marked")
    if tally.cut:
        folding.skip("", f"{tally.cut:,} files of the log end in the middle of an entry")
    if tally.gone:
        folding.skip("", f"{tally.gone:,} files of the log were taken away before they were read")
    if not statements:
        why = "no entry of the log tells of a statement" if tally.records else "no entry in the form of PostgreSQL"
        mend = "it needs log_min_duration_statement or auto_explain, and lc_messages = 'C'"
        folding.skip("", f"{why}: {mend}")


class _Span:
    """The time between the first entry and the last."""

    __slots__ = ("_first", "_last")

    def __init__(self) -> None:
        self._first = self._last = ""

    def add(self, at: str) -> None:
        """One more moment, in whatever order they come."""
        if at:
            self._first = min(self._first or at, at)
            self._last = max(self._last, at)

    @property
    def seconds(self) -> float | None:
        """How long that was; None where the log tells no moments."""
        first, last = _moment(self._first), _moment(self._last)
        return (last - first).total_seconds() if first is not None and last is not None and last > first else None


_MOMENT = re.compile(MOMENT)


def _moment(text: str) -> datetime | None:
    match = _MOMENT.match(text)
    try:
        return datetime.fromisoformat(match[0].replace(",", ".")) if match else None
    except ValueError:
        # Digits in their places that are no day.
        return None
