"""The server that a run measures against: tercet's own embedded one, on a free port, gone with the run."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tercet.servers import Servers, status

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")

# A start takes a tenth of a second; on a machine that others use too it may take long.
START_SECONDS = 60.0

# A process that was told to stop has stopped after some milliseconds.
FREEZE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it is, which process, which program."""

    url: str
    pid: int
    version: str

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self.url.rsplit(":", 1)[1].split("/", 1)[0])

    def freeze(self) -> None:
        """Stop it in every thread: it keeps its connections and answers nobody."""
        os.kill(self.pid, signal.SIGSTOP)
        until = time.monotonic() + FREEZE_SECONDS
        while not all(_state(task) in "Tt" for task in Path(f"/proc/{self.pid}/task").iterdir()):
            if time.monotonic() > until:
                raise TimeoutError("the server did not stand still")
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on where it stood."""
        os.kill(self.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """The CPU time of its main thread so far; 0.0 where the system does not tell."""
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0


@contextmanager
def running() -> Iterator[Server]:
    """A fresh server. It is watched over by a loop in a thread of its own, so that the run may use any loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server", daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(START_SECONDS)

    with tempfile.TemporaryDirectory(prefix="tercet-bench-", ignore_cleanup_errors=True) as folder:
        servers = Servers(Path(folder), ("redis",), durable=False, sources=("wheel",))
        try:
            url = run(servers.start()).redis
            found = next(one for one in run(status(folder)) if one.store == "redis")
            assert url is not None
            assert found.pid is not None
            server = Server(url, found.pid, f"Valkey {found.version}")
            try:
                yield server
            finally:
                server.thaw()
                run(servers.stop())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        # A thread that has ended stands still.
        return "T"
