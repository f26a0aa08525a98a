"""A throw-away PostgreSQL of a wanted major version, in a folder that nobody else may read and that never stays."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.advisor.sandbox import reaper
from tercet.errors import ServerMissing
from tercet.servers.folder import Site
from tercet.servers.postgres import PostgresServer
from tercet.servers.process import Process, Spawner
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
    "autovacuum=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "synchronize_seqscans=off",
    "track_io_timing=off",
    "max_locks_per_transaction=256",
    "shared_preload_libraries=",
)


@dataclass(frozen=True, slots=True)
class _Throwaway(PostgresServer):
    """PostgreSQL of one major version only (any, if that is None)."""

    durable: bool = False
    major: int | None = None

    def suits(self, program: Program, site: Site) -> str | None:
        """Another major version plans otherwise."""
        if self.major is not None and program.version[0] != self.major:
            return f"A copy of PostgreSQL {self.major} needs a server of that version; install one on this machine."
        return PostgresServer.suits(self, program, site)

    def command(self, site: Site, program: Program, port: int) -> tuple[str, ...]:
        """As always, and what only a throw-away server may do."""
        words = PostgresServer.command(self, site, program, port)
        return (*words, *(word for setting in _SETTINGS for word in ("-c", setting)))


class Cluster:
    """A running server whose data end with it; `same_major` says whether it is of the version that was wanted.

    It is made by `start`, and goes when it is closed, when its maker is cancelled, and when its process is killed.
    """

    __slots__ = ("_process", "_reaper", "_spawner", "folder", "same_major", "url")

    def __init__(self, folder: Path, watching: subprocess.Popen[bytes]) -> None:
        self.folder, self._reaper = folder, watching
        self._spawner: Spawner | None = None
        self._process: Process | None = None
        self.url = ""
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
        self._process, self.url = running.process, server.url(running.port)

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
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
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
