"""Logs as PostgreSQL writes them to stderr or syslog, whatever log_line_prefix stands before an entry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.advisor.workload.logs.record import MOMENT, RECORD_CHARS_MAX, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.workload.logs.record import Tally

# The level is followed by a colon and two spaces, which no prefix ends with by accident.
_HEAD = re.compile(
    r"(?P<prefix>.*?)(?P<level>LOG|DETAIL|STATEMENT|ERROR|WARNING|NOTICE|INFO|FATAL|PANIC|HINT|CONTEXT|QUERY|LOCATION"
    r"|BACKTRACE|DEBUG[1-5]?):  (?P<message>.*)",
    re.DOTALL,
)
# Entries that belong to the one before them.
_BELOW = frozenset({"DETAIL", "STATEMENT", "HINT", "CONTEXT", "QUERY", "LOCATION", "BACKTRACE"})
_MOMENT = re.compile(MOMENT)
# "db=shop", or "somebody@shop".
_DATABASE = re.compile(r"\b(?:db|database)=([^\s,\]]+)|(?<![\w.-])[\w.-]+@([\w-]+)")
# "Nov 22 06:00:00 host postgres[123]: [5-2] …": the second number counts the lines of one entry.
_SYSLOG = re.compile(r".*?\bpostgres\w*\[\d+\]: \[\d+-(\d+)\] ?")


def read(lines: Iterator[str], tally: Tally) -> Iterator[Record]:
    """The entries of the level LOG."""
    open_: _Open | None = None
    for line in lines:
        text, below = _unwrapped(line)
        if below:
            if open_ is not None:
                open_.add(text, tally)
            continue
        match = _HEAD.match(text)
        if match is None:
            tally.broken += bool(text.strip())
            continue
        level = match["level"]
        if level in _BELOW:
            if open_ is not None:
                open_.part = "detail" if level == "DETAIL" else ""
                open_.add(match["message"], tally)
            continue
        if open_ is not None:
            yield open_.record()
        tally.records += 1
        open_ = _Open(match["prefix"] + line[: len(line) - len(text)], match["message"]) if level == "LOG" else None
    if open_ is not None:
        yield open_.record()


class _Open:
    """An entry to which lines may still come."""

    __slots__ = ("_chars", "_detail", "_message", "_prefix", "part")

    def __init__(self, prefix: str, message: str) -> None:
        self._prefix, self._message, self._detail = prefix, [message], list[str]()
        self._chars = len(message)
        self.part = "message"

    def add(self, text: str, tally: Tally) -> None:
        """One more line for the part that is being read."""
        self._chars += len(text)
        if self._chars > RECORD_CHARS_MAX:
            tally.broken += bool(self._message)
            self._message, self._detail, self.part = [], [], ""
        elif self.part:
            (self._message if self.part == "message" else self._detail).append(text)

    def record(self) -> Record:
        """The entry as far as it has come."""
        moment, database = _MOMENT.search(self._prefix), _DATABASE.search(self._prefix)
        return Record(
            "\n".join(self._message),
            "\n".join(self._detail),
            (database[1] or database[2]) if database else None,
            moment[0] if moment else "",
        )


def _unwrapped(line: str) -> tuple[str, bool]:
    """The line without what syslog puts before it and the tab of a line that goes on, and whether it goes on."""
    syslog = _SYSLOG.match(line) if "postgres" in line else None
    if syslog is not None:
        line = line[syslog.end() :]
        if syslog[1] != "1":
            return line.removeprefix("#011").removeprefix("\t"), True
    return (line[1:], True) if line.startswith("\t") else (line, False)
