"""A throw-away PostgreSQL in a folder that nobody else may enter and that never stays.

It listens on no port: its only socket lies in that folder, for what is in it belongs to production's users. The
folder goes when the server is closed, when its maker is cancelled, and when its maker's process is killed; after the
machine itself has gone down, the next one that is made takes it away.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from tercet.advisor.private.folder import Folder
from tercet.advisor.private.server import PrivateServer
from tercet.errors import NotOpen, ServerMissing
from tercet.servers.folder import Site
from tercet.servers.process import Spawner
from tercet.servers.servers import SOURCES
from tercet.servers.start import Start, bring_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tercet.advisor.private.recipe import Recipe
    from tercet.servers.port import Source
    from tercet.servers.start import Running

SUPERUSER = "postgres"


class Cluster:
    """A server whose data end with it: `start` it once, and `close` it."""

    __slots__ = ("_folder", "_spawner", "major", "port", "recipe")

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        # Of the server that was found.
        self.major, self.port = 0, 0
        self._folder: Folder | None = None
        self._spawner: Spawner | None = None

    @property
    def folder(self) -> Path:
        """Where its socket and its files are."""
        if self._folder is None:
            raise NotOpen("The private server", closed=False)
        return self._folder.path

    @property
    def data(self) -> Path:
        """Where the server keeps its files."""
        return self.folder / "postgres"

    @property
    def same_major(self) -> bool:
        """Whether it is of the version that was wanted."""
        return self.recipe.major in {None, self.major}

    def url(self, database: str) -> str:
        """The address of one of its databases, for programs of this user."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.folder), safe='')}&port={self.port}"

    async def start(self, *, sources: Sequence[Source] = SOURCES) -> None:
        """Start it, or leave nothing. Raises ServerMissing if there is no PostgreSQL, ServerFailed if it fails."""
        self._folder, self._spawner = Folder(), Spawner()
        try:
            running = await self._bring_up(self._spawner, sources)
        except BaseException:
            await asyncio.shield(self.close())
            raise
        self.port = running.port

    async def close(self) -> None:
        """End the server and take its folder away; twice is fine."""
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            begun = await spawner.settle()
            await asyncio.gather(*(process.end() for process in begun))
            await asyncio.to_thread(spawner.close)
        if self._folder is not None:
            await asyncio.to_thread(self._folder.close)

    async def _bring_up(self, spawner: Spawner, sources: Sequence[Source]) -> Running:
        site, start = Site("postgres", self.folder), Start(spawner, detached=False, sources=sources)
        missing: list[ServerMissing] = []
        for major in self.recipe.majors(PrivateServer().oldest[0]):
            try:
                running = await bring_up(PrivateServer(major=major, recipe=self.recipe), site, start)
            except ServerMissing as error:
                missing.append(error)
                continue
            self.major = int((self.data / "PG_VERSION").read_text(encoding="ascii"))
            return running
        # What is said is what production's own version lacks.
        raise missing[0]
