"""The folder of the servers: what lies where, who holds it, and what was written down about each server.

.tercet/
  .gitignore        *
  lock              held by whoever starts or owns servers here: its process and command
  postgres.json     the server's record: its process, when that began, port, version
  postgres.log      what it wrote since its last start; .log.1 is the start before
  postgres/         its data (postgres.new-* while it is being made)
  mongo.json  mongo.log  mongo/
  mongo-libraries/  links to the libraries that mongod needs and the system lacks
  redis.json  redis.log  redis/
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tercet.errors import FolderBusy, SettingInvalid

if TYPE_CHECKING:
    from tercet.telemetry.event import Store

# Somebody who only attaches lets go within this; somebody who stays is named after it.
_BRIEF_HOLD_SECONDS = 1.0
# `tercet up` holds the folder while its servers come up; a second one waits for them so long, and attaches.
_DETACHED_START_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.05

# A log is kept whole while its server runs and cut to this at the next start: more has never helped anybody.
_LOG_KEPT_BYTES = 4 << 20
# What an error quotes: enough for a FATAL with its HINT and the lines before.
_TAIL_LINES = 12
_TAIL_BYTES = 16 << 10

_COMMAND_SHOWN = 120
_HOLDER_BYTES = 4096
_CREDENTIALS = re.compile(r"//[^@/\s]*@")


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a server that was started here."""

    folder: str
    pid: int
    started: str
    port: int
    version: str
    source: str
    detached: bool
    since: float


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a folder; `detached` when it lets go as soon as its servers are up."""

    pid: int
    command: str
    detached: bool


@dataclass(frozen=True, slots=True)
class Site:
    """One store's part of the folder."""

    store: Store
    folder: Path

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / self.store

    @property
    def log(self) -> Path:
        """What the server writes."""
        return self.folder / f"{self.store}.log"

    @property
    def record_path(self) -> Path:
        """Where its process is written down."""
        return self.folder / f"{self.store}.json"

    @property
    def libraries(self) -> Path:
        """Links to shared libraries that the system lacks."""
        return self.folder / f"{self.store}-libraries"

    def record(self) -> Record | None:
        """What was written down about the server; None when nothing was, or nothing readable.

        A copy of a folder has a copy of the record, and the server in it is the other folder's.
        """
        try:
            record = msgspec.json.decode(self.record_path.read_bytes(), type=Record)
        except (OSError, msgspec.MsgspecError):
            return None
        return record if record.folder == str(self.folder) else None

    def rotate_log(self) -> None:
        """Begin a new log; the last one is kept as .1, cut to a bounded length."""
        if self.log.exists():
            kept = self.log.with_name(f"{self.log.name}.1")
            self.log.replace(kept)
            if kept.stat().st_size > _LOG_KEPT_BYTES:
                kept.write_bytes(_last_bytes(kept, _LOG_KEPT_BYTES))

    def tail(self) -> str:
        """The last lines of the log, for an error to quote."""
        try:
            text = _last_bytes(self.log, _TAIL_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-_TAIL_LINES:])

    def log_bytes(self) -> int:
        """How long the log is by now."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_since(self, begins: int) -> str:
        """What was written after it was so long."""
        with self.log.open("rb") as file:
            file.seek(begins)
            return file.read(_LOG_KEPT_BYTES).decode("utf-8", "replace")

    def data_bytes(self) -> int:
        """What the data takes on the disk; files that vanish meanwhile do not count."""
        return _disk_bytes(self.data)


def _last_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - count))
        return file.read()


def _disk_bytes(folder: Path) -> int:
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                # Blocks, not lengths: both engines make files that are longer than what is in them.
                total += (Path(base) / name).lstat().st_blocks * 512
            except OSError:
                continue
    return total


def make(folder: Path) -> None:
    """Make the folder, hidden from git; SettingInvalid says why it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="ascii")
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> SettingInvalid:
    return SettingInvalid(
        "folder",
        where="The start of the servers",
        shown=f"{folder} ({error.strerror or error})",
        wanted="a folder that this user may write to, on a disk with space left",
    )


class FolderLock:
    """One process at a time starts, owns or stops a folder's servers; the kernel lets go when it dies."""

    __slots__ = ("_file", "folder")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: int | None = None

    @property
    def files(self) -> tuple[int, ...]:
        """The open file that is the hold, for whoever has to hold on a moment longer than we live."""
        return () if self._file is None else (self._file,)

    async def take(self, *, detached: bool) -> None:
        """Hold the folder from now on; FolderBusy names who does when it is not let go of soon.

        `detached` tells the others that this holder will let go as soon as its servers are up.
        """
        try:
            file = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unusable(self.folder, error) from error
        try:
            await self._wait(file)
            text = msgspec.json.encode(Holder(os.getpid(), _own_command(), detached))
            os.pwrite(file, text, 0)
            os.ftruncate(file, len(text))
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        """Let go; twice is fine."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def _wait(self, file: int) -> None:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(file)
                lets_go = holder is None or holder.detached
                patience = _DETACHED_START_SECONDS if lets_go else _BRIEF_HOLD_SECONDS
                if time.monotonic() - began > patience:
                    pid, command = (holder.pid, holder.command) if holder else (None, None)
                    raise FolderBusy(str(self.folder), pid=pid, command=command) from None
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
            else:
                return


def _holder(file: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(file, _HOLDER_BYTES, 0), type=Holder)
    except msgspec.MsgspecError:
        # Taken this instant: it is just being written.
        return None


def _own_command() -> str:
    """The command of this process as people typed it, without credentials and not longer than a line."""
    words = [Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]] if sys.orig_argv else [sys.argv[0]]
    return _CREDENTIALS.sub("//…@", " ".join(" ".join(words).split()))[:_COMMAND_SHOWN]
