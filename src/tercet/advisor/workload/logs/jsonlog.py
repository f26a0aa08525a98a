"""Logs of log_destination = jsonlog (PostgreSQL 15 and later): an entry a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tercet.advisor.workload.logs.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.workload.logs.record import Tally


class _Line(msgspec.Struct):
    """What is wanted of a line; the rest is passed over."""

    message: str = ""
    detail: str = ""
    dbname: str | None = None
    timestamp: str = ""
    error_severity: str = ""


def read(lines: Iterator[str], tally: Tally) -> Iterator[Record]:
    """The entries of the level LOG."""
    decode = msgspec.json.Decoder(_Line).decode
    for text in lines:
        if not text.strip():
            continue
        try:
            line = decode(text)
        except (msgspec.MsgspecError, RecursionError):
            tally.broken += 1
            continue
        tally.records += 1
        if line.error_severity == "LOG":
            yield Record(line.message, line.detail, line.dbname, line.timestamp)
