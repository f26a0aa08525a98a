"""The moments for which a tag was dropped lately, as values: bounded in number, and stricter where they are many."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tercet.witness import Moment

# How long a moment is remembered: after it, whatever reads the store is taken to see it. Visibility follows the log
# by a millisecond; what takes longer is a replica that lags, or a standby that is waited for, of which the relay
# tells again.
WINDOW_SECONDS = 60.0

# So many records of a tag stand for one moment each, before the older ones are put together.
RECORDS_EXACT = 16
# The newest stay apart also then: they are those that a load may not see yet.
RECORDS_NEWEST = 8
# Older ones are put together by the time at which they were told. Never across it: a record of all times would name
# transactions that have long been over together with those that run.
BUCKET_SECONDS = 10.0

# One number for a source: of all that a service reads there are a handful.
SOURCE_BYTES = 8

# Source, first, last, when it was told in ms by the server's clock, and whether it is settled: big-endian.
_LAYOUT = struct.Struct(">8sQQQB")


@dataclass(frozen=True, slots=True)
class Span:
    """What one store has committed from its moment `first` to `last`, both of them too."""

    # A digest of the Moment's source.
    source: bytes
    first: int
    last: int

    @classmethod
    def of(cls, moment: Moment) -> Span:
        """One moment alone."""
        return cls(digest(moment.source), moment.at, moment.at)


@dataclass(frozen=True, slots=True)
class Record:
    """A span for which a tag was dropped."""

    source: bytes
    first: int
    last: int
    told_ms: int
    # Whether the store's primary was seen to show it: then only what lags behind that does not.
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """A relay says that it is there."""

    # Of the following it relays for.
    name: str
    # How long its last drop came after the commit, by the store's clock and its own.
    lag_seconds: float


def digest(source: str) -> bytes:
    """What stands for a source where many are written."""
    return hashlib.blake2b(source.encode(), digest_size=SOURCE_BYTES).digest()


def folded(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same moments, or more of them, in a bounded number: of each source its few, or one span around them all."""
    by_source: dict[bytes, dict[Span, None]] = {}
    for span in spans:
        by_source.setdefault(span.source, {})[span] = None
    found: list[Span] = []
    for source, some in by_source.items():
        if len(some) <= RECORDS_NEWEST:
            found += some
        else:
            found.append(Span(source, min(one.first for one in some), max(one.last for one in some)))
    return tuple(found)


def told(held: Iterable[Record], spans: Iterable[Span], now_ms: int) -> list[Record]:
    """The records of a tag that is dropped for these spans now; drop.lua does the same."""
    kept = [one for one in held if one.told_ms > now_ms - WINDOW_SECONDS * 1000]
    for span in spans:
        same = [one for one in kept if (one.source, one.first, one.last) == (span.source, span.first, span.last)]
        settled = any(one.settled for one in same)
        kept = [one for one in kept if one not in same]
        kept.append(Record(span.source, span.first, span.last, now_ms, settled))
    return _bounded(kept)


def settled(held: Iterable[Record], source: bytes, through: int, spans: Sequence[Span]) -> list[Record]:
    """The records once the store shows all up to `through`, and these; settle.lua does the same."""
    shown = {(one.first, one.last) for one in spans if one.source == source}
    return [
        replace(one, settled=True)
        if one.source == source and (one.last <= through or (one.first, one.last) in shown)
        else one
        for one in held
    ]


def _bounded(records: list[Record]) -> list[Record]:
    if len(records) <= RECORDS_EXACT:
        return records
    together: dict[tuple[bytes, int], Record] = {}
    for one in records[:-RECORDS_NEWEST]:
        place = (one.source, one.told_ms // int(BUCKET_SECONDS * 1000))
        other = together.get(place)
        together[place] = one if other is None else _around(other, one)
    return [*together.values(), *records[-RECORDS_NEWEST:]]


def _around(one: Record, other: Record) -> Record:
    return Record(
        one.source,
        min(one.first, other.first),
        max(one.last, other.last),
        max(one.told_ms, other.told_ms),
        one.settled and other.settled,
    )


def written(records: Iterable[Record]) -> bytes:
    """The records as they lie in Redis."""
    return b"".join(_LAYOUT.pack(one.source, one.first, one.last, one.told_ms, one.settled) for one in records)


def read(text: bytes | None) -> tuple[Record, ...]:
    """The records in a text; what is beyond the last whole one is none."""
    if not text:
        return ()
    whole = len(text) // _LAYOUT.size * _LAYOUT.size
    return tuple(
        Record(source, first, last, told_ms, bool(flag))
        for source, first, last, told_ms, flag in _LAYOUT.iter_unpack(text[:whole])
    )


def words(spans: Iterable[Span]) -> list[bytes]:
    """The spans as the scripts are given them."""
    return [one.source + struct.pack(">QQ", one.first, one.last) for one in spans]
