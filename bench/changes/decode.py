"""What decoding PostgreSQL's changes costs, alone; prints JSON.

    python bench/changes/decode.py [--rows 20000] [--rounds 7]

CPU time a row, best of several rounds, on payloads as a server sends them: no server takes part.
"""

from __future__ import annotations

import argparse
import struct
import time
from typing import TYPE_CHECKING

import asked

from tercet.changes.change import Wants
from tercet.changes.pgoutput import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tercet.changes.change import Commit

# A table of eight columns: its key, a number, two times, texts, a price and a document.
_COLUMNS = (
    ("id", 20, 1, b"%d"),
    ("user_id", 20, 0, b"%d"),
    ("status", 25, 0, b"completed"),
    ("total", 1700, 0, b"129.90"),
    ("created_at", 1184, 0, b"2026-11-22 03:04:01.349617+00"),
    ("updated_at", 1184, 0, b"2026-11-22 03:04:01.349617+00"),
    ("note", 25, 0, b"ring twice, please"),
    ("data", 3802, 0, b'{"a": [1, 2, 3], "b": "c"}'),
)


def _relation() -> bytes:
    head = b"R" + struct.pack(">I", 7) + b"public\0orders\0d" + struct.pack(">H", len(_COLUMNS))
    return head + b"".join(
        bytes([flag]) + name.encode() + b"\0" + struct.pack(">Ii", number, -1) for name, number, flag, _ in _COLUMNS
    )


def _insert(row: int) -> bytes:
    texts = [text % row if b"%d" in text else text for *_, text in _COLUMNS]
    values = b"".join(b"t" + struct.pack(">I", len(text)) + text for text in texts)
    return b"I" + struct.pack(">I", 7) + b"N" + struct.pack(">H", len(texts)) + values


def _begin(xid: int) -> bytes:
    return b"B" + struct.pack(">QqI", xid * 100, 0, xid)


def _commit(xid: int) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, xid * 100, xid * 100 + 50, 0)


def _large(rows: int) -> list[bytes]:
    return [_begin(900), _relation(), *(_insert(row) for row in range(rows)), _commit(900)]


def _small(rows: int) -> list[bytes]:
    each = [(_begin(900 + row), _insert(row), _commit(900 + row)) for row in range(rows)]
    return [_begin(899), _relation(), _commit(899), *(payload for three in each for payload in three)]


def _cost(payloads: Sequence[bytes], wants: Wants, rows: int, rounds: int) -> float:
    """Microseconds of CPU a row."""
    best = float("inf")
    for _ in range(rounds):
        feed: Callable[[bytes], Iterable[Commit]] = Decoder(wants, source="pg:1", near=1000).feed
        begin = time.process_time()
        for payload in payloads:
            for _commit_made in feed(payload):
                pass
        best = min(best, time.process_time() - begin)
    return best / rows * 1e6


def main() -> None:
    """Measure each kind of transaction with each kind of wants."""
    wants = {
        "nobody wants it": Wants({"users": None}),
        "key only": Wants({"orders": frozenset({"id"})}),
        "key and user": Wants({"orders": frozenset({"id", "user_id"})}),
        "all eight columns": Wants({"orders": None}),
    }
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, default=20_000)
    words.add_argument("--rounds", type=int, default=7)
    given = words.parse_args()
    kinds = {"one large transaction": _large(given.rows), "one-row transactions": _small(given.rows)}
    asked.told(
        {
            "cpu_us_a_row": {
                kind: {what: round(_cost(payloads, one, given.rows, given.rounds), 2) for what, one in wants.items()}
                for kind, payloads in kinds.items()
            }
        }
    )


if __name__ == "__main__":
    main()
