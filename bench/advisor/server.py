"""A PostgreSQL of the benchmark's own, which can be asked how much processor time it has taken."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg

from tercet.errors import ServerMissing
from tercet.servers import Servers, status
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

# Nothing may run beside what is measured. All else is as tercet's own servers have it, and as the peers' choices were
# made and run: work_mem 64 MB, random_page_cost 1.1, no jit.
SETTINGS = {"autovacuum": "off"}

# Fields of /proc/PID/stat behind the name: user and system time, its own and that of children who have ended.
_TIMES = slice(11, 15)
_PARENT = 1


@dataclass(frozen=True, slots=True)
class Server:
    """A running one. `url` is of its database `postgres`."""

    url: str
    pid: int
    version: str

    @property
    def name(self) -> str:
        """As people call it."""
        return f"PostgreSQL {self.version}"

    def cpu(self, *, without: int = 0) -> float:
        """Seconds of processor time that all of its processes have taken so far, but for this living one."""
        own, children = _read(self.pid), [pid for pid, parent in _parents() if parent == self.pid and pid != without]
        ticks = sum(own) + sum(sum(_read(pid)) for pid in children)
        return ticks / os.sysconf("SC_CLK_TCK")

    async def database(self, name: str) -> str:
        """Make an empty database anew and give its address."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(f"drop database if exists {identifier(name)} with (force)")
            await connection.execute(f"create database {identifier(name)}")
        finally:
            await connection.close()
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()


@asynccontextmanager
async def running(source: str = "wheel", settings: Mapping[str, str] = SETTINGS) -> AsyncIterator[Server]:
    """A fresh server, from the "wheel" or from what the machine has ("path"), stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="tercet-bench-", ignore_cleanup_errors=True) as folder:
        servers = Servers(Path(folder), ("postgres",), durable=False, sources=(source,))
        try:
            url = (await servers.start()).postgres or ""
            connection = await asyncpg.connect(url)
            for name, value in settings.items():
                await connection.execute(f"alter system set {name} = '{value}'")
            await connection.close()
            # Some of them count from the start on only.
            await servers.stop()
            url = (await servers.start()).postgres or ""
            found = next(one for one in await status(Path(folder)) if one.store == "postgres")
            yield Server(url, found.pid or 0, found.version or "")
        finally:
            await servers.stop()


async def majors(sources: Sequence[str]) -> dict[str, str]:
    """The sources that can be had here, each with its version; of two with the same major the first one."""
    found: dict[str, str] = {}
    for source in sources:
        try:
            async with running(source, {}) as server:
                major = _major(server.version)
                if major not in {_major(version) for version in found.values()}:
                    found[source] = server.version
        except ServerMissing as error:
            print(f"Without {source}: {error}", flush=True)
    return found


def _major(version: str) -> str:
    return re.split(r"\D", version, maxsplit=1)[0]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _read(pid: int) -> list[int]:
    return [int(one) for one in _stat(pid)[_TIMES]]


def _parents() -> list[tuple[int, int]]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [(pid, int(stat[_PARENT])) for pid in pids if (stat := _stat(pid))]
