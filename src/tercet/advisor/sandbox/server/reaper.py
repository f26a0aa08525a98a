"""Takes a folder away when whoever has made it is done with it, or is no more.

Run as a program of its own, with nothing but the standard library. Its standard input is a pipe whose other end
only the maker holds: the kernel closes that when the maker closes it, is cancelled, or is killed. Then the server
that works in the folder is ended and everything in it removed. So data of users stay nowhere, whatever happens.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

# A server that has just been killed may still be writing; a disk that hangs is not waited for for ever.
_PATIENCE_SECONDS = 120.0
_LOOK_EVERY_SECONDS = 0.05


def main(folder: str) -> None:
    """Wait for the end of the pipe, then take the folder away."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        continue
    place = Path(folder)
    _end_server(place / "postgres")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while place.exists() and time.monotonic() < deadline:
        shutil.rmtree(place, ignore_errors=True)
        if place.exists():
            time.sleep(_LOOK_EVERY_SECONDS)


def _end_server(data: Path) -> None:
    """Tell the server on this data to end at once; nothing of it is wanted any more."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
        if _works_on(pid, data):
            os.kill(pid, signal.SIGQUIT)
    except (OSError, ValueError):
        return


def _works_on(pid: int, data: Path) -> bool:
    """Whether this process names the folder in its command line: its number alone may be somebody else's by now."""
    try:
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        # No /proc: the folder is ours alone, and what stands in it was written by its server.
        return not Path("/proc/self").exists()


if __name__ == "__main__":
    main(sys.argv[1])
