"""Processes of ours: begun through the launcher, known by number and beginning, ended with a deadline."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tercet.servers import launcher
from tercet.servers.launcher import STARTER_GONE, started_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# How often a process is looked at: below what anybody notices, above what costs anything.
LOOK_EVERY_SECONDS = 0.02
# A server told to end cleanly has this long; then it is killed. A clean end takes 0.1 to 1.2 s.
STOP_SECONDS = 10.0
# Between SIGKILL and the end there is only the kernel's own work.
_KILL_SECONDS = 5.0

Road = Literal["own", "namespace", "nobody"]


@dataclass(frozen=True, slots=True)
class Order:
    """A program to run: its words, where its output goes, and what to remember of it."""

    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    road: Road = "own"
    # The signal that the program gets when its starter dies.
    signal: int = signal.SIGKILL
    detached: bool = False
    record: Path | None = None
    fields: Mapping[str, object] | None = None


class Process:
    """A process that cannot be mistaken for a later one with the same number."""

    __slots__ = ("_popen", "_stop_signal", "pid", "started")

    def __init__(self, pid: int, started: str, stop_signal: int, popen: subprocess.Popen[bytes] | None = None) -> None:
        self.pid, self.started, self._stop_signal, self._popen = pid, started, stop_signal, popen

    def alive(self) -> bool:
        """Whether it still runs."""
        if self._popen is not None:
            return self._popen.poll() is None
        return started_at(self.pid) == self.started

    def ended(self) -> str:
        """How it ended, in words, as far as that is known."""
        code = self._popen.poll() if self._popen is not None else None
        if code is None:
            return "it has ended"
        if code == STARTER_GONE:
            return "the thread that started it had ended"
        if code < 0:
            return f"it was ended by {signal.Signals(-code).name}"
        return f"it ended with exit code {code}"

    def code(self) -> int:
        """Its exit code, negative for the signal that ended it; only a child of ours has one."""
        if self._popen is None:
            return 0
        code = self._popen.poll()
        return 0 if code is None else code

    async def end(self, *, patience: float = STOP_SECONDS) -> None:
        """Ask it to end cleanly, and kill it when it has not after `patience` seconds."""
        for number, seconds in ((self._stop_signal, patience), (signal.SIGKILL, _KILL_SECONDS)):
            if not self.alive():
                return
            try:
                os.kill(self.pid, number)
            except (ProcessLookupError, PermissionError):
                # Gone this instant, or another user's: then the next start meets its lock on the data.
                return
            await self.over(seconds)

    async def over(self, patience: float) -> bool:
        """Wait for its end; False when it has not come after `patience` seconds."""
        deadline = time.monotonic() + patience
        while self.alive():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        return True


class Spawner:
    """A thread that starts processes and lives as long as they may.

    Linux ends a child "with its parent" when the *thread* that started it ends; whoever starts servers may
    do so in a thread that does not live long, so there is one that does.
    """

    __slots__ = ("_held", "_lock", "_thread", "begun")

    def __init__(self, held: Sequence[int] = ()) -> None:
        # Files that each launcher keeps open until its program is written down.
        self._held = tuple(held)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tercet-servers")
        self._lock = threading.Lock()
        # Everything started and not yet seen to its end, also when the one who asked was cancelled meanwhile.
        self.begun: list[Process] = []

    async def spawn(self, order: Order) -> Process:
        """Start it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._spawn, order)

    def forget(self, process: Process) -> None:
        """It has been seen to its end, or may live on."""
        with self._lock:
            self.begun = [one for one in self.begun if one is not process]

    async def settle(self) -> tuple[Process, ...]:
        """Everything begun, once nothing is being begun any more."""
        await asyncio.get_running_loop().run_in_executor(self._thread, lambda: None)
        with self._lock:
            return tuple(self.begun)

    def close(self) -> None:
        """End the thread; what is still alive and not detached gets its signal now."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _spawn(self, order: Order) -> Process:
        text = _told(order, self._held)
        with order.log.open("ab") as log:
            popen = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-I", "-S", launcher.__file__, text],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(order.environment),
                # Ctrl-C in a terminal reaches the starter, which then stops its servers in order.
                start_new_session=True,
                pass_fds=self._held,
            )
        process = _adopted(popen, order) if order.detached else _child(popen, order)
        with self._lock:
            self.begun.append(process)
        return process


def _child(popen: subprocess.Popen[bytes], order: Order) -> Process:
    return Process(popen.pid, started_at(popen.pid) or "", order.signal, popen)


def _adopted(popen: subprocess.Popen[bytes], order: Order) -> Process:
    """The detached process behind a launcher that has ended."""
    popen.wait()
    try:
        written: dict[str, Any] = json.loads(order.record.read_text(encoding="utf-8")) if order.record else {}
        return Process(written["pid"], written["started"], order.signal)
    except (OSError, ValueError, KeyError):
        # It could not even be written down (a full disk): its log has the reason, and it does not run.
        return Process(popen.pid, "", order.signal)


def ordinary_user() -> tuple[int, int]:
    """The user that has nothing; postgres looks its own user up by name, so it must be one that exists."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid


async def run(spawner: Spawner, order: Order, *, patience: float) -> int:
    """Run a program to its end and return its exit code; it is killed when `patience` is over."""
    process = await spawner.spawn(order)
    try:
        await process.over(patience)
    finally:
        await asyncio.shield(process.end())
        spawner.forget(process)
    return process.code()


def road_for_root(*, forced: Road | None = None) -> Road:
    """How a server that refuses root is run by root: in a user namespace, or else as nobody."""
    if forced is not None:
        return forced
    trial = Order(["/bin/true"], Path(os.devnull), {}, "namespace")
    try:
        tried = subprocess.run(  # noqa: S603 - our own program, no shell
            [sys.executable, "-I", "-S", launcher.__file__, _told(trial)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=STOP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "nobody"
    return "namespace" if tried.returncode == 0 else "nobody"


def _told(order: Order, held: Sequence[int] = ()) -> str:
    """The order as the launcher reads it."""
    uid, gid = ordinary_user()
    return json.dumps(
        {
            "argv": list(order.argv),
            "user": order.road,
            "uid": uid,
            "gid": gid,
            "signal": int(order.signal),
            "detached": order.detached,
            "held": list(held),
            "starter": os.getpid(),
            "record": str(order.record) if order.record else None,
            "fields": dict(order.fields or {}),
        }
    )


def command_line(pid: int) -> tuple[str, ...]:
    """The words of a process's command line; none when it is gone."""
    if not sys.platform.startswith("linux"):
        shown = subprocess.run(  # noqa: S603 - fixed words and a number
            ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return tuple(shown.stdout.split())
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in words.split(b"\0") if word)


def runs(pid: int, names: Sequence[str]) -> bool:
    """Whether it runs a program of one of these names, wherever that lies."""
    first = next(iter(command_line(pid)), "")
    return any(re.search(rf"(?:^|/){re.escape(name)}(?:\s|$)", first) for name in names)


def working_on(folder: Path, names: Sequence[str]) -> tuple[Process, ...]:
    """The processes of these names whose working folder this is, or whose command line has it.

    That finds a killed postmaster's children, and servers whose folder was moved while they ran. Linux
    only; elsewhere the children end by themselves when they next look for their postmaster. The name
    matters: a person's shell or editor may be in the folder too.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if not runs(pid, names):
            continue
        try:
            inside = (entry / "cwd").readlink() == folder
        except OSError:
            inside = False
        started = started_at(pid) if inside or str(folder) in command_line(pid) else None
        if started is not None:
            found.append(Process(pid, started, signal.SIGTERM))
    return tuple(found)
