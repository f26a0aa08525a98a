"""How a private server is found, made and run: no port, one socket in a folder that is closed to everybody else."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tercet.advisor.private.recipe import Recipe
from tercet.errors import ServerFailed
from tercet.servers.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tercet.servers.folder import Site
    from tercet.servers.port import Candidate, Program, Progress, Run, Source

_SETTINGS = (
    # The rows and the statistics in it are those of production's users.
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "shared_preload_libraries=",
    "max_wal_senders=0",
    # /dev/shm is 64 MB in many containers; parallel queries need more.
    "dynamic_shared_memory_type=mmap",
    # Nothing may count or tidy up between two questions.
    "autovacuum=off",
    # Its data is worthless tomorrow.
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "lc_messages=C",
    # Statements hold values; the log tells why it does not start, and no more.
    "log_min_messages=fatal",
    "log_min_error_statement=panic",
)
_NAMED = "TERCET_PG_HOME"


@dataclass(frozen=True, slots=True)
class PrivateServer(PostgresServer):
    """PostgreSQL of one major version only (any, if that is None), made by a recipe."""

    durable: bool = False
    # Pages may be made by hand, and a check that nobody needs takes time on the others.
    checksums: bool = False
    # At once: nothing of it is wanted afterwards.
    stop_signal: int = signal.SIGQUIT
    major: int | None = None
    recipe: Recipe = field(default_factory=Recipe)

    def candidates(self, sources: Sequence[Source], environ: Mapping[str, str]) -> Iterator[Candidate]:
        """As every server of ours, but a folder that is named is only the first place."""
        yield from PostgresServer.candidates(self, sources, environ)
        if environ.get(_NAMED):
            rest = {name: value for name, value in environ.items() if name != _NAMED}
            yield from PostgresServer.candidates(self, sources, rest)

    def suits(self, program: Program, site: Site) -> str | None:
        """Another major version plans otherwise."""
        if self.major is not None and program.version[0] != self.major:
            return f"Production is PostgreSQL {self.major}: install that version here ({_NAMED} may name its folder)."
        return PostgresServer.suits(self, program, site)

    def locale(self, program: Program) -> Sequence[str]:
        """Production's, if the recipe says so."""
        return self.recipe.locale(program) if self.recipe.locale else PostgresServer.locale(self, program)

    async def prepare(self, site: Site, program: Program, run: Run, progress: Progress) -> None:
        """Make the cluster with production's locale, or with a plain one where that is missing here."""
        try:
            await PostgresServer.prepare(self, site, program, run, progress)
        except ServerFailed:
            if self.recipe.locale is None:
                raise
            plain = replace(self, recipe=replace(self.recipe, locale=None))
            await PostgresServer.prepare(plain, site, program, run, progress)

    def command(self, site: Site, program: Program, port: int) -> tuple[str, ...]:
        """The postmaster itself; `port` is but the number in its socket's name."""
        place = (f"unix_socket_directories={site.folder}", f"port={port}")
        settings = (*_SETTINGS, *self.recipe.settings, *place)
        return (str(program.path), "-D", str(site.data), *(word for one in settings for word in ("-c", one)))

    async def pending(self, site: Site, port: int, pid: int) -> str | None:
        """None when its postmaster has written down that it is ready."""
        try:
            lines = (site.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return "starting"
        ready = bool(lines) and lines[0].strip() == str(pid) and lines[-1].strip() == "ready"
        return None if ready and (site.folder / f".s.PGSQL.{port}").exists() else "starting"
