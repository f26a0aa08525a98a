"""A folder that nobody else may enter, held and watched from its first moment on, and gone when its maker is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tercet.advisor.private import reaper

# The folder is gone a moment after its server; a slow disk may take a while over gigabytes.
_GONE_SECONDS = 120.0
# A socket's whole path may have 107 bytes on Linux and 103 on macOS; with what is put behind a folder's name it
# stays below if the folder that holds it is no longer than this.
_PLACE_BYTES_MAX = 60


class Folder:
    """A private folder; `close` takes it away, and so does the end of this process, however it comes."""

    __slots__ = ("_held", "_watching", "path")

    def __init__(self) -> None:
        place = tempfile.gettempdir()
        if len(place.encode()) > _PLACE_BYTES_MAX:
            place = "/tmp"  # noqa: S108 - the folder made in it is private
        # 0700 by its making.
        self.path = Path(tempfile.mkdtemp(prefix=reaper.PREFIX, dir=place)).resolve()
        self._held: int | None = None
        try:
            self._held = os.open(self.path / reaper.HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Some file systems know no locks; nobody can take the hold for given up there.
            with contextlib.suppress(OSError):
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._watching: subprocess.Popen[bytes] | None = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-I", "-S", reaper.__file__, str(self.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(self._held,),
                # Ctrl-C in a terminal must not end it before its maker.
                start_new_session=True,
            )
        except BaseException:
            self._let_go()
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def close(self) -> None:
        """Take it away, and wait until it is gone; twice is fine."""
        watching, self._watching = self._watching, None
        if watching is not None and watching.stdin is not None:
            with contextlib.suppress(OSError):
                watching.stdin.close()
            # Where its disk hangs, it goes on without us.
            with contextlib.suppress(subprocess.TimeoutExpired):
                watching.wait(_GONE_SECONDS)
                # Somebody may have killed it.
                shutil.rmtree(self.path, ignore_errors=True)
        self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            os.close(held)
