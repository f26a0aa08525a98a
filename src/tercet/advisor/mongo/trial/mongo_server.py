"""A throw-away mongod in a folder that nobody else may enter, on a socket in it alone; nothing of it stays."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from tercet.advisor.private.folder import Folder
from tercet.servers.folder import Site
from tercet.servers.mongo import MongoServer
from tercet.servers.process import Spawner
from tercet.servers.servers import SOURCES
from tercet.servers.start import Start, bring_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from tercet.servers.port import Program, Source

_ANSWER_MS = 1_000

# No replica set and no other guest: nothing but the advisor may work here between two measurements.
_SETTINGS = (
    "--wiredTigerCacheSizeGB", "1",
    "--filePermissions", "0700",
    # Without zlib: in 6.0.5 its decompression lets strangers read memory (CVE-2025-14847).
    "--networkMessageCompressors", "disabled",
    "--setParameter", "diagnosticDataCollectionEnabled=false",
    # What has expired in production's eyes is still part of the sample.
    "--setParameter", "ttlMonitorEnabled=false",
    "--slowms", "100000000",
    "--wiredTigerEngineConfigString", "log=(file_max=32MB,prealloc=false)",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Alone(MongoServer):
    """mongod without a replica set and without a port."""

    durable: bool = False

    def command(self, site: Site, program: Program, port: int) -> tuple[str, ...]:
        """On its socket only."""
        return (
            str(program.path), "--dbpath", str(site.data), "--port", str(port),
            "--bind_ip", str(_socket(site.folder, port)), *_SETTINGS,
        )  # fmt: skip

    async def pending(self, site: Site, port: int, pid: int) -> str | None:
        """None when our process answers on the socket."""
        if not _socket(site.folder, port).exists():
            return "starting"
        async with client(_url(site.folder, port), serverSelectionTimeoutMS=_ANSWER_MS) as asked:
            try:
                ours = (await asked.admin.command("serverStatus"))["pid"] == pid
            except PyMongoError:
                return "starting"
        return None if ours else "starting"

    async def complete(self, port: int) -> None:
        """It is complete as it is."""


class Throwaway:
    """A running mongod whose data end with it; goes when it is closed, cancelled, or its process is killed."""

    __slots__ = ("_folder", "_spawner", "url", "version")

    def __init__(self) -> None:
        self._folder = Folder()
        self._spawner: Spawner | None = None
        self.url = self.version = ""

    @classmethod
    async def start(cls, *, sources: Sequence[Source] = SOURCES) -> Self:
        """A server of our own. Raises ServerMissing and ServerFailed."""
        made = cls()
        try:
            await made.bring_up(sources)
        except BaseException:
            await asyncio.shield(made.close())
            raise
        return made

    @property
    def folder(self) -> Path:
        """Where its socket and its files are."""
        return self._folder.path

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(self.close())

    async def close(self) -> None:
        """End the server and take its folder away; twice is fine."""
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            begun = await spawner.settle()
            await asyncio.gather(*(process.end() for process in begun))
            spawner.close()
        await asyncio.to_thread(self._folder.close)

    async def bring_up(self, sources: Sequence[Source]) -> None:
        """Start its server; whatever was begun is ended by `close`."""
        self._spawner = Spawner()
        site = Site("mongo", self.folder)
        running = await bring_up(_Alone(), site, Start(self._spawner, detached=False, sources=sources))
        self.url = _url(self.folder, running.port)
        async with client(self.url) as asked:
            self.version = str((await asked.admin.command("buildInfo"))["version"])


def client(url: str, **options: Any) -> AsyncMongoClient[dict[str, Any]]:
    """A client of a throw-away server."""
    return AsyncMongoClient(url, directConnection=True, retryWrites=False, tz_aware=True, **options)


def _socket(folder: Path, port: int) -> Path:
    return folder / f"m-{port}.sock"


def _url(folder: Path, port: int) -> str:
    return f"mongodb://{quote(str(_socket(folder, port)), safe='')}/"
