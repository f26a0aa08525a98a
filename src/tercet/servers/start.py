"""One server, from nothing to ready: attach to one that runs, or clear what is left, find, prepare, start."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.errors import ServerFailed
from tercet.servers.launcher import NOT_RUN, started_at
from tercet.servers.process import (
    LOOK_EVERY_SECONDS,
    Order,
    Process,
    Road,
    Spawner,
    command_line,
    ordinary_user,
    road_for_root,
    run,
    runs,
    working_on,
)
from tercet.servers.program import find

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    from tercet.servers.folder import Record, Site
    from tercet.servers.port import Program, Server, Source

# From the start of the process to the first answer; a cold start takes 2 s, recovering 4 GB of log after a
# crash most of a minute.
READY_SECONDS = 60.0
# A running server that is to be attached to answers in a few ms; one that hangs is not waited for.
ATTACH_SECONDS = 5.0
# Making a cluster takes 1 to 4 s.
_PREPARE_SECONDS = 60.0
# A port is free when it is chosen and may be gone when it is used; that this happens so often in a row says
# that something else is wrong.
_PORTS_TRIED = 5

# The rest (PGPORT, LC_ALL, addresses with passwords) is no business of theirs.
_HANDED_ON = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

_TAKEN = "ddress already in use"
_FULL = ("No space left on device", "Check free disk space")


# What a server is doing that does not answer yet; a server's own `pending` says it in the same word.
_STARTING = "starting"


@dataclass(frozen=True, slots=True)
class Start:
    """How servers are started this time."""

    spawner: Spawner
    detached: bool
    sources: Sequence[Source]
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    road: Road | None = None
    ready_seconds: float = READY_SECONDS
    progress: Callable[[str, str], None] = lambda _store, _what: None


@dataclass(frozen=True, slots=True)
class Running:
    """A server that works, where, and whether it is ours to stop."""

    server: Server
    process: Process
    port: int
    attached: bool


async def attach(server: Server, site: Site) -> Running | None:
    """The detached server that runs in this folder already and answers; None when there is none."""
    record = site.record()
    if record is None or not record.detached:
        return None
    process = Process(record.pid, record.started, server.stop_signal)
    deadline = time.monotonic() + ATTACH_SECONDS
    while process.alive() and time.monotonic() < deadline:
        if await server.pending(site, record.port, record.pid) is None:
            return Running(server, process, record.port, attached=True)
        # Who started it may have been killed before it was complete.
        await server.complete(record.port)
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return None


async def bring_up(server: Server, site: Site, start: Start) -> Running:
    """Start it and wait until it works; what was started is in the spawner's list whatever happens."""
    tell = partial(start.progress, server.store)
    last = site.record()
    await clear_leftovers(server, site)
    tell("looking for the program")
    program = await asyncio.to_thread(find, server, site, start.sources, start.environ)
    site.rotate_log()
    road = await _road(server, start)
    environment = _environment(start.environ, program)

    async def execute(argv: Sequence[str]) -> int:
        return await run(start.spawner, Order(argv, site.log, environment, road), patience=_PREPARE_SECONDS)

    try:
        _give(site, road)
        await server.prepare(site, program, execute, tell)
    except OSError as error:
        raise _failed(server, site, str(error)) from error
    for port in _ports(last):
        tell(_STARTING)
        begins = site.log_bytes()
        order = Order(
            server.command(site, program, port),
            site.log,
            environment,
            road,
            server.stop_signal,
            start.detached,
            site.record_path,
            _fields(site, program, port, start),
        )
        process = await start.spawner.spawn(order)
        if await _wait(server, site, process, port, start):
            tell("ready")
            return Running(server, process, port, attached=False)
        start.spawner.forget(process)
        if _TAKEN not in site.log_since(begins):
            raise _failed(server, site, process.ended())
    raise _failed(server, site, f"{_PORTS_TRIED} ports in a row were taken")


async def clear_leftovers(server: Server, site: Site) -> None:
    """Stop what a killed run left running on this data, and remove what would be in the way.

    A process is touched only when it began at the recorded moment, or names the data folder in its command
    line, or works in it: its number alone may belong to somebody else by now.
    """
    record = site.record()
    left = [Process(record.pid, record.started, server.stop_signal)] if record is not None else []
    claimed = server.pid_claimed(site)
    if claimed is not None and runs(claimed, server.names) and str(site.data) in command_line(claimed):
        left.append(Process(claimed, started_at(claimed) or "", server.stop_signal))
    await asyncio.gather(*(process.end() for process in left))
    # A killed postmaster's children may be in the middle of a long query and keep its memory; and in a folder
    # that was moved while its servers ran, this is how they are found.
    await asyncio.gather(*(process.end() for process in working_on(site.data, server.names)))
    claimed = server.pid_claimed(site)
    if claimed is None or not runs(claimed, server.names):
        server.clear(site)


async def _wait(server: Server, site: Site, process: Process, port: int, start: Start) -> bool:
    """True when it works, False when it has ended; ServerFailed, and it is stopped, when it does neither."""
    deadline = time.monotonic() + start.ready_seconds
    told = _STARTING
    while process.alive():
        pending = await _unless_ended(process, server.pending(site, port, process.pid))
        if pending is None:
            return True
        if pending != told:
            start.progress(server.store, pending)
            told = pending
        if time.monotonic() > deadline:
            await process.end()
            raise _failed(server, site, f"after {start.ready_seconds:.0f} s it was still {pending}")
        if pending != _STARTING:
            # Not before: else it could be complete without anybody having been told that it is being completed.
            await _unless_ended(process, server.complete(port))
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return False


async def _unless_ended(process: Process, question: Coroutine[object, object, str | None]) -> str | None:
    """The answer; or "ending" as soon as the process has ended: a stranger on its port may never answer."""
    asked = asyncio.ensure_future(question)
    try:
        while not asked.done():
            if not process.alive():
                return "ending"
            await asyncio.wait([asked], timeout=LOOK_EVERY_SECONDS)
        return asked.result()
    finally:
        asked.cancel()


async def _road(server: Server, start: Start) -> Road:
    if not server.refuses_root or os.geteuid() != 0:
        return "own"
    return await asyncio.to_thread(road_for_root, forced=start.road)


def _give(site: Site, road: Road) -> None:
    """Make data that root made another way belong to whoever the server runs as this time."""
    if os.geteuid() != 0 or not site.data.exists():
        return
    uid, gid = ordinary_user() if road == "nobody" else (0, 0)
    if site.data.stat().st_uid == uid:
        return
    for base, folders, names in os.walk(site.data):
        for name in ("", *folders, *names):
            os.chown(Path(base) / name, uid, gid, follow_symlinks=False)


def _ports(last: Record | None) -> Iterator[int]:
    """The port of the last time first, so that addresses written down somewhere stay true; then free ones."""
    if last is not None:
        yield last.port
    for _ in range(_PORTS_TRIED):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as asked:
            asked.bind(("127.0.0.1", 0))
            port: int = asked.getsockname()[1]
        yield port


def _environment(environ: Mapping[str, str], program: Program) -> dict[str, str]:
    """What a server needs of the starter's environment, and what its program needs beside."""
    kept = {name: environ[name] for name in _HANDED_ON if name in environ}
    kept.update(LANG="C", TZ="UTC")
    for name, value in program.environment.items():
        kept[name] = os.pathsep.join(part for part in (value, environ.get(name, "")) if part)
    return kept


def _fields(site: Site, program: Program, port: int, start: Start) -> dict[str, object]:
    return {
        "folder": str(site.folder),
        "port": port,
        "version": program.version_text,
        "source": program.source,
        "detached": start.detached,
        "since": time.time(),
    }


def _failed(server: Server, site: Site, reason: str) -> ServerFailed:
    log = site.tail()
    mend = ""
    if any(words in log or words in reason for words in _FULL):
        mend = f"Free some space on the disk of {site.folder}."
    elif NOT_RUN in log:
        mend = (
            "It refuses to run as root, and this root may neither make a user namespace nor become another "
            f"user: run as an ordinary user, or set TERCET_{server.store.upper()}_URL."
        )
    return ServerFailed(server.store, reason=reason, log=log, log_path=str(site.log), mend=mend)
