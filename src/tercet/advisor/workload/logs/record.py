"""What one entry of a log holds, whatever form the log has, and what was met on the way."""

from __future__ import annotations

from dataclasses import dataclass

# A longer entry is a bulk load; of a statement so long nothing is learnt.
RECORD_CHARS_MAX = 1 << 20

# The head of csvlog's lines, and where a broken one is left for the next.
MOMENT = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?"


@dataclass(slots=True)
class Record:
    """An entry of the level LOG: its message, the DETAIL below it, whose it is, and when it was written."""

    message: str
    detail: str = ""
    database: str | None = None
    at: str = ""


@dataclass(slots=True)
class Tally:
    """What was met while a log was read."""

    records: int = 0
    broken: int = 0
    # Bytes that are not UTF-8.
    garbled: int = 0
    # A file that ended in the middle of what it holds: one that is being written, or cut while it was copied.
    cut: int = 0
    # Files of a folder that were no longer there.
    gone: int = 0
