"""The lines of a log, out of plain and packed files, one by one whatever their size."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING, cast

from tercet.advisor.workload.logs.record import RECORD_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tercet.advisor.workload.logs.record import Tally

_GZIP = b"\x1f\x8b"
# How often somebody is told how far it is: several times a second at the speed of a log.
_TOLD_EVERY = 20_000


def lines(path: Path, tally: Tally, told: Callable[[int], None] = lambda _: None) -> Iterator[str]:
    """Each line of a file without its end. What cannot be decoded is marked; a line beyond all bounds is left out.

    `told` hears now and then how many bytes of the file were read. A packed file that is cut ends where it ends.
    Raises OSError if the file cannot be opened.
    """
    with path.open("rb") as raw:
        # Not read: a pipe cannot be gone back in.
        packed = raw.peek(len(_GZIP)).startswith(_GZIP)
        source = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
        try:
            for number, line in enumerate(_bounded(source, tally)):
                if number % _TOLD_EVERY == 0:
                    told(raw.tell() if raw.seekable() else 0)
                yield _decoded(line, tally)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            tally.cut += 1


def _bounded(source: IO[bytes], tally: Tally) -> Iterator[bytes]:
    while line := source.readline(RECORD_CHARS_MAX):
        if len(line) < RECORD_CHARS_MAX or line.endswith(b"\n"):
            yield line
            continue
        tally.broken += 1
        while (rest := source.readline(RECORD_CHARS_MAX)) and not rest.endswith(b"\n"):
            pass


def _decoded(line: bytes, tally: Tally) -> str:
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        tally.garbled += 1
        return line.decode(errors="replace").rstrip("\r\n")
