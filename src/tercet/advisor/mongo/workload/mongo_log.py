"""The slow queries of mongod's own log (JSON, 4.4 and later), line by line, packed or not."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

from bson import json_util

from tercet.advisor.mongo.shape import MongoWorkload, Skipped
from tercet.advisor.mongo.workload.folding import Seen, command_of, fold, several
from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tercet.advisor.mongo.shape import Document

_SLOW = b'"Slow query"'
_GZIP = b"\x1f\x8b"
# The server itself cuts a line at 10 kB unless told otherwise; one of this size is none of its.
_LINE_MAX = 4 << 20
_SKIPPED_MAX = 100
_TOLD_EVERY = 20_000
_OPTIONS = json_util.JSONOptions(tz_aware=True)


def from_log(
    paths: Iterable[Path], *, database: str = "", on_progress: Callable[[str, int, int], None] | None = None
) -> MongoWorkload:
    """The slow queries of these files or folders, of one database if it is named. Raises UsageError."""
    skipped: list[Skipped] = []
    files = [one for path in paths for one in (sorted(path.iterdir()) if path.is_dir() else [path])]
    told = on_progress or (lambda _what, _done, _all: None)

    def all_of() -> Iterator[Seen]:
        for path in files:
            yield from _of_file(path, database, skipped, told)

    return fold(all_of(), ", ".join(one.name for one in files[:3]), skipped)


def _of_file(
    path: Path, database: str, skipped: list[Skipped], told: Callable[[str, int, int], None]
) -> Iterator[Seen]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
        with gzip.open(path, "rb") if packed else path.open("rb") as lines:
            number = 0
            while line := lines.readline(_LINE_MAX):
                number += 1
                if number % _TOLD_EVERY == 0:
                    told(f"reading {path.name}", number, 0)
                if _SLOW in line:
                    yield from _of_line(line, database, skipped)
    except (OSError, EOFError) as error:
        mend = "Name mongod's log, or a folder of them."
        raise UsageError(f"{path} cannot be read: {error}.", mend) from error


def _of_line(line: bytes, database: str, skipped: list[Skipped]) -> Iterator[Seen]:
    try:
        entry = json_util.loads(line.decode("utf-8", "replace"), json_options=_OPTIONS)
        attr = entry["attr"]
        found = list(of_entry(attr, database))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        _note(skipped, line[:80].decode("utf-8", "replace"), f"the line cannot be read: {error}")
        return
    if attr.get("truncated") and found:
        _note(skipped, str(attr.get("ns", "")), "the server has cut it short (maxLogSizeKB)")
        return
    yield from found


def of_entry(attr: Document, database: str) -> Iterator[Seen]:
    """A slow query, as the log and the profiler write it down; the rest of a cursor counts to its beginning."""
    namespace = str(attr.get("ns", ""))
    base, _, collection = namespace.partition(".")
    if database and base != database:
        return
    told: Any = attr.get("command") or {}
    more = "getMore" in told
    if more:
        told = attr.get("originatingCommand") or attr.get("cursor", {}).get("originatingCommand") or {}
    ms = float(attr.get("durationMillis", attr.get("millis", 0)))
    for one in several(told):
        command = command_of(one, collection=collection)
        if command is not None:
            yield Seen(command, ms, more=more)


def _note(skipped: list[Skipped], what: str, why: str) -> None:
    if len(skipped) < _SKIPPED_MAX:
        skipped.append(Skipped(what, why))
