"""Takes a folder away when whoever has made it is done with it, or is no more.

Run as a program of its own, with nothing but the standard library. Its standard input is a pipe whose other end
only the maker holds: the kernel closes that when the maker closes it, is cancelled, or is killed. Then the server
that works in the folder is ended and everything in it removed. Maker and reaper both hold a lock on a file in the
folder; where nobody does any more, because the machine went down with both, the next reaper removes it. So data of
users stay nowhere, whatever happens.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

PREFIX = "tercet-private-"
# The file that is locked.
HELD = "held"
# Where each kind of server keeps its files, where it writes its number in them, and how it is ended at once.
SERVERS = (("postgres", "postmaster.pid", signal.SIGQUIT), ("mongo", "mongod.lock", signal.SIGKILL))

# A folder as young as this may not be held yet.
YOUNG_SECONDS = 60.0
# A server that has just been killed may still be writing; a disk that hangs is not waited for for ever.
_PATIENCE_SECONDS = 120.0
_LOOK_EVERY_SECONDS = 0.05
_ASK_SECONDS = 5.0


def main(folder: str) -> None:
    """Sweep what others have left, wait for the end of the pipe, then take the folder away."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    place = Path(folder)
    # Gigabytes on a slow disk take their time, which the maker does not wait for.
    threading.Thread(target=sweep, args=(place.parent,), daemon=True).start()
    while os.read(0, 1):
        continue
    remove(place)


def sweep(place: Path) -> None:
    """Take away the folders here that are ours and that nobody holds any more."""
    with os.scandir(place) as found:
        for one in found:
            if one.name.startswith(PREFIX) and one.is_dir(follow_symlinks=False) and _left(one):
                remove(Path(one.path))


def remove(place: Path) -> None:
    """End the server that works in the folder, and take the folder away."""
    for data, file, how in SERVERS:
        _end_server(place / data, file, how)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while place.exists() and time.monotonic() < deadline:
        shutil.rmtree(place, ignore_errors=True)
        if place.exists():
            time.sleep(_LOOK_EVERY_SECONDS)


def _left(folder: os.DirEntry[str]) -> bool:
    """Whether its maker and its reaper are both gone."""
    try:
        about = folder.stat(follow_symlinks=False)
        if about.st_uid != os.geteuid() or time.time() - about.st_mtime < YOUNG_SECONDS:
            return False
        held = os.open(Path(folder.path) / HELD, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        # Gone meanwhile, or its maker was killed before it could hold it.
        return True
    except OSError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(held)
    return True


def _end_server(data: Path, file: str, how: signal.Signals) -> None:
    """Tell the server on this data to end at once; nothing of it is wanted any more."""
    try:
        pid = int((data / file).read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
        if _works_on(pid, data):
            os.kill(pid, how)
    except (OSError, ValueError, subprocess.SubprocessError):
        return


def _works_on(pid: int, data: Path) -> bool:
    """Whether this process names the folder in its command line: its number alone may be somebody else's by now."""
    if Path("/proc/self").exists():
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    shown = subprocess.run(  # noqa: S603 - fixed words and a number
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False, timeout=_ASK_SECONDS
    ).stdout
    return os.fsencode(data) in shown.split()


if __name__ == "__main__":
    main(sys.argv[1])
