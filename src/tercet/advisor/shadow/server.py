"""The server of a shadow: same major version, a private folder, one socket in it, and gone with us.

The statistics of production hold values of its rows, so nobody else may reach them: the folder is closed to other
users, the server listens on no port, and its only socket lies in that folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.errors import NotOpen, ServerFailed, ServerMissing
from tercet.servers.folder import Site
from tercet.servers.postgres import PostgresServer
from tercet.servers.process import Spawner
from tercet.servers.servers import SOURCES
from tercet.servers.start import Running, Start, bring_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tercet.advisor.shadow.taken.dump import About
    from tercet.servers.port import Candidate, Program, Progress, Run, Source

SUPERUSER = "postgres"
# Checksums would be wrong on every page that is made by hand; they are the default from here on.
_CHECKSUMS_FROM = (18,)
_PROVIDERS_FROM = (15,)
_BUILTIN_FROM = (17,)
# A socket's whole path may have 107 bytes on Linux and 103 on macOS; with what is put behind a folder's name it
# stays below if the folder that holds it is no longer than this.
_PLACE_BYTES_MAX = 60

_SETTINGS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "dynamic_shared_memory_type=mmap",
    # Nothing may count or look at its rows again: that would undo what was written into the catalogue.
    "autovacuum=off",
    "track_counts=off",
    "allow_system_table_mods=on",
    "shared_buffers=32MB",
    "max_connections=10",
    "max_wal_senders=0",
    "checkpoint_timeout=1h",
    # Its data is worthless tomorrow.
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "jit=off",
    "timezone=UTC",
    "lc_messages=C",
    # Statements hold values; the log tells why it does not start, and no more.
    "log_min_messages=fatal",
    "log_min_error_statement=panic",
)

# It waits for the end of whoever has begun it, then for the server, and takes the folder away.
_SWEEPER = (
    'read -r _; n=0; while [ -e "$1/postgres/postmaster.pid" ] && [ $n -lt 100 ]; '
    'do sleep 0.1; n=$((n+1)); done; rm -rf -- "$1"'
)
# The sweeper has nothing left to wait for when it is told to end.
_SWEPT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class ShadowServer(PostgresServer):
    """How a shadow's server is found, made and started."""

    durable: bool = False
    # At once: nothing of it is wanted afterwards.
    stop_signal: int = signal.SIGQUIT
    major: int = 0
    about: About | None = None

    def candidates(self, sources: Sequence[Source], environ: Mapping[str, str]) -> Iterator[Candidate]:
        """As every server of ours, but a folder that is named is only the first place."""
        yield from PostgresServer.candidates(self, sources, environ)
        if environ.get("TERCET_PG_HOME"):
            rest = {name: value for name, value in environ.items() if name != "TERCET_PG_HOME"}
            yield from PostgresServer.candidates(self, sources, rest)

    def suits(self, program: Program, site: Site) -> str | None:
        """Only a program of the wanted major version does."""
        if program.version[0] != self.major:
            return (
                f"Production is PostgreSQL {self.major}: install that version here "
                "(TERCET_PG_HOME may name its folder), or let HypoPG plan."
            )
        return PostgresServer.suits(self, program, site)

    async def prepare(self, site: Site, program: Program, run: Run, progress: Progress) -> None:
        """Make the cluster with production's encoding and collation, or with plain ones where these are missing."""
        progress("creating the cluster")
        for locale in (_locale_like(self.about, program), _locale_plain(program)):
            words = [str(program.path.parent / "initdb"), "-D", str(site.data), "-U", SUPERUSER, "-A", "trust"]
            words += ["--no-sync", "--no-instructions", "--wal-segsize=1", *locale]
            if program.version >= _CHECKSUMS_FROM:
                words.append("--no-data-checksums")
            code = await run(words)
            if code == 0:
                return
            await asyncio.to_thread(shutil.rmtree, site.data, ignore_errors=True)
        raise ServerFailed(
            self.store, reason=f"initdb ended with exit code {code}", log=site.tail(), log_path=str(site.log)
        )

    def command(self, site: Site, program: Program, port: int) -> tuple[str, ...]:
        """The postmaster itself; `port` is but the number in its socket's name."""
        settings = (*_SETTINGS, f"unix_socket_directories={site.folder}", f"port={port}")
        flags = [word for setting in settings for word in ("-c", setting)]
        return (str(program.path), "-D", str(site.data), *flags)

    async def pending(self, site: Site, port: int, pid: int) -> str | None:
        """None when its postmaster has written down that it is ready."""
        try:
            lines = (site.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return "starting"
        ready = bool(lines) and lines[0].strip() == str(pid) and lines[-1].strip() == "ready"
        return None if ready and (site.folder / f".s.PGSQL.{port}").exists() else "starting"


class Cluster:
    """A running server of a shadow; `stop` ends it and leaves nothing behind."""

    __slots__ = ("_folder", "_running", "_spawner", "_sweeper", "major", "port")

    def __init__(self) -> None:
        self._folder: Path | None = None
        self.port = 0
        # Of the server that was found.
        self.major = 0
        self._running: Running | None = None
        self._spawner: Spawner | None = None
        self._sweeper: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """Where its socket and its files are."""
        if self._folder is None:
            raise NotOpen("The shadow's server", closed=False)
        return self._folder

    @property
    def data(self) -> Path:
        """Where the server keeps its files."""
        return self.folder / "postgres"

    async def start(self, about: About) -> None:
        """Start a server like this one, of the same major version or else of the nearest that is here."""
        place = tempfile.gettempdir()
        if len(place.encode()) > _PLACE_BYTES_MAX:
            place = "/tmp"  # noqa: S108 - the folder made in it is private
        # A folder that only this user may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="tercet-shadow-", dir=place))
        self._sweeper = subprocess.Popen(  # noqa: S603, ASYNC220 - fixed words; it begins in a millisecond
            ["/bin/sh", "-c", _SWEEPER, "sh", str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._spawner = Spawner()
        site, start = Site("postgres", self.folder), Start(self._spawner, detached=False, sources=SOURCES)
        missing: list[ServerMissing] = []
        for major in sorted(range(PostgresServer().oldest[0], about.major + 3), key=lambda one: _distance(one, about)):
            try:
                self._running = await bring_up(ShadowServer(major=major, about=about), site, start)
            except ServerMissing as error:
                missing.append(error)
                continue
            self.port, self.major = self._running.port, major
            return
        # What is said is what production's own version lacks.
        raise missing[0]

    async def stop(self) -> None:
        """End the server and take its folder away; twice is fine."""
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            begun = await spawner.settle()
            await asyncio.gather(*(process.end() for process in begun))
            await asyncio.to_thread(spawner.close)
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            await asyncio.to_thread(_dismiss, sweeper)


def _distance(major: int, about: About) -> tuple[int, bool]:
    """How far a version is from production's; of two the newer one, which knows more of its plans."""
    return abs(major - about.major), major < about.major


def _dismiss(sweeper: subprocess.Popen[bytes]) -> None:
    if sweeper.stdin is not None:
        with contextlib.suppress(OSError):
            sweeper.stdin.close()
    try:
        sweeper.wait(_SWEPT_SECONDS)
    except subprocess.TimeoutExpired:
        sweeper.kill()
        sweeper.wait()


def _locale_like(about: About | None, program: Program) -> list[str]:
    if about is None:
        return _locale_plain(program)
    words = ["-E", about.encoding, f"--lc-collate={about.collate}", f"--lc-ctype={about.ctype}"]
    words += ["--lc-messages=C", "--lc-monetary=C", "--lc-numeric=C", "--lc-time=C"]
    if about.provider == "i" and about.locale and program.version >= _PROVIDERS_FROM:
        words += ["--locale-provider=icu", f"--icu-locale={about.locale}"]
    elif about.provider == "b" and about.locale and program.version >= _BUILTIN_FROM:
        words += ["--locale-provider=builtin", f"--builtin-locale={about.locale}"]
    return words


def _locale_plain(program: Program) -> list[str]:
    """What every machine has."""
    words = ["-E", "UTF8", "--locale=C"]
    if program.version >= _BUILTIN_FROM:
        words += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return words
