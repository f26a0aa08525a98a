"""Logs of log_destination = csvlog: an entry a row, whose fields may hold lines of their own."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from tercet.advisor.workload.logs.record import MOMENT, RECORD_CHARS_MAX, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.workload.logs.record import Tally

HEAD = re.compile(rf"{MOMENT} [^,]+,")
# A row has at least the fields up to its detail.
COMMAS_MIN = 12

# Fields as every version since 9.0 has them; later ones only add behind.
_DATABASE, _LEVEL, _MESSAGE, _DETAIL = 2, 11, 13, 14


def read(lines: Iterator[str], tally: Tally) -> Iterator[Record]:
    """The entries of the level LOG. A row whose quotes never close is left where the next one seems to begin."""
    for row in _rows(lines, tally):
        try:
            fields = next(csv.reader([row], strict=True))
            record = Record(fields[_MESSAGE], fields[_DETAIL], fields[_DATABASE] or None, fields[0])
        except (csv.Error, IndexError, StopIteration):
            tally.broken += 1
            continue
        tally.records += 1
        if fields[_LEVEL] == "LOG":
            yield record


def _rows(lines: Iterator[str], tally: Tally) -> Iterator[str]:
    """Lines put together until their quotes close."""
    held: list[str] = []
    chars, quotes = 0, 0
    for line in lines:
        if held and chars + len(line) > RECORD_CHARS_MAX and HEAD.match(line):
            tally.broken += 1
            held, chars, quotes = [], 0, 0
        elif held and chars > RECORD_CHARS_MAX:
            # Nothing is kept of what is too long, and its end is looked for.
            held, quotes = [""], quotes + line.count('"')
            continue
        held.append(line)
        chars, quotes = chars + len(line), quotes + line.count('"')
        if quotes % 2 == 0:
            yield "\n".join(held)
            held, chars, quotes = [], 0, 0
    tally.cut += bool(held)
