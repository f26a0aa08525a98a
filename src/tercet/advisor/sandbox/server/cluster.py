"""A throw-away PostgreSQL of a wanted major version, in a folder that nobody else may enter and that never stays.

It listens on no port: its only socket lies in that folder, for the rows in it are those of production's users.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tercet.advisor.sandbox.server import reaper
from tercet.errors import ServerMissing
from tercet.servers.folder import Site
from tercet.servers.postgres import PostgresServer
from tercet.servers.process import Spawner
from tercet.servers.servers import SOURCES
from tercet.servers.start import Start, bring_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.servers.port import Program, Source

_PREFIX = "tercet-sandbox-"
# The folder is gone a moment after its server; a slow disk may take a while over gigabytes.
_GONE_SECONDS = 120.0

# Nothing but the advisor works here: no vacuum may come between two measurements, and a table that is made and filled
# in one transaction needs no log.
_SETTINGS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "autovacuum=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "synchronize_seqscans=off",
    "track_io_timing=off",
    "max_locks_per_transaction=256",
    "shared_preload_libraries=",
    # Statements hold values.
    "log_min_error_statement=panic",
)
# A socket's whole path may have 107 bytes on Linux and 103 on macOS; the folder's own name and the socket's are short.
_PLACE_BYTES_MAX = 60


@dataclass(frozen=True, slots=True)
class _Throwaway(PostgresServer):
    """PostgreSQL of one major version only (any, if that is None)."""

    durable: bool = False
    # At once: nothing of it is wanted afterwards.
    stop_signal: int = signal.SIGQUIT
    major: int | None = None

    def suits(self, program: Program, site: Site) -> str | None:
        """Another major version plans otherwise."""
        if self.major is not None and program.version[0] != self.major:
            return f"A copy of PostgreSQL {self.major} needs a server of that version; install one on this machine."
        return PostgresServer.suits(self, program, site)

    def command(self, site: Site, program: Program, port: int) -> tuple[str, ...]:
        """As always, and what only a throw-away server may do."""
        words = PostgresServer.command(self, site, program, port)
        settings = (*_SETTINGS, f"unix_socket_directories={site.folder}")
        return (*words, *(word for setting in settings for word in ("-c", setting)))

    async def pending(self, site: Site, port: int, pid: int) -> str | None:
        """None when its postmaster has written down that it is ready."""
        try:
            lines = (site.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return "starting"
        ready = bool(lines) and lines[0].strip() == str(pid) and lines[-1].strip() == "ready"
        return None if ready and (site.folder / f".s.PGSQL.{port}").exists() else "starting"


class Cluster:
    """A running server whose data end with it; `same_major` says whether it is of the version that was wanted.

    It is made by `start`, and goes when it is closed, when its maker is cancelled, and when its process is killed.
    """

    __slots__ = ("_port", "_reaper", "_spawner", "folder", "same_major")

    def __init__(self, folder: Path, watching: subprocess.Popen[bytes]) -> None:
        self.folder, self._reaper = folder, watching
        self._spawner: Spawner | None = None
        self._port = 0
        self.same_major = True

    @classmethod
    async def start(cls, major: int | None, *, sources: Sequence[Source] = SOURCES) -> Cluster:
        """A server of this major version, or of any if there is none on this machine. Raises ServerMissing."""
        cluster = await asyncio.to_thread(_private)
        try:
            await cluster.bring_up(major, sources)
        except BaseException:
            await asyncio.shield(cluster.close())
            raise
        return cluster

    async def bring_up(self, major: int | None, sources: Sequence[Source]) -> None:
        """Start its server; whatever was begun is ended by `close`."""
        self._spawner = Spawner()
        server, site = _Throwaway(major=major), Site("postgres", self.folder)
        start = Start(self._spawner, detached=False, sources=sources)
        try:
            running = await bring_up(server, site, start)
        except ServerMissing:
            if major is None:
                raise
            running = await bring_up(replace(server, major=None), site, start)
            self.same_major = False
        self._port = running.port

    def url(self, database: str) -> str:
        """The address of one of its databases, for programs of this user."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.folder), safe='')}&port={self._port}"

    async def close(self) -> None:
        """End the server and take its folder away; twice is fine."""
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            begun = await spawner.settle()
            await asyncio.gather(*(process.end() for process in begun))
            spawner.close()
        if self._reaper.stdin is not None:
            self._reaper.stdin.close()
        await asyncio.to_thread(self._reaper.wait, _GONE_SECONDS)


def _private() -> Cluster:
    """A folder of our own (0700), watched from its first moment on."""
    place = tempfile.gettempdir()
    if len(place.encode()) > _PLACE_BYTES_MAX:
        place = "/tmp"  # noqa: S108 - the folder made in it is private
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place)).resolve()
    try:
        watching = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [sys.executable, "-I", "-S", reaper.__file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in a terminal must not end it before its maker.
            start_new_session=True,
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Cluster(folder, watching)
