"""A throw-away PostgreSQL in a folder that nobody else may enter and that never stays.

It listens on no port: its only socket lies in that folder, for what is in it belongs to production's users. The
folder goes when the server is closed, when its maker is cancelled, and when its maker's process is killed; after the
machine itself has gone down, the next one that is made takes it away.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tercet.advisor.private import reaper
from tercet.advisor.private.server import PrivateServer
from tercet.errors import NotOpen, ServerMissing
from tercet.servers.folder import Site
from tercet.servers.process import Spawner
from tercet.servers.servers import SOURCES
from tercet.servers.start import Running, Start, bring_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.private.recipe import Recipe
    from tercet.servers.port import Source

SUPERUSER = "postgres"
# The folder is gone a moment after its server; a slow disk may take a while over gigabytes.
_GONE_SECONDS = 120.0
# A socket's whole path may have 107 bytes on Linux and 103 on macOS; with what is put behind a folder's name it
# stays below if the folder that holds it is no longer than this.
_PLACE_BYTES_MAX = 60


class Cluster:
    """A server whose data end with it: `start` it once, and `close` it."""

    __slots__ = ("_folder", "_held", "_reaper", "_spawner", "major", "port", "recipe")

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        # Of the server that was found.
        self.major, self.port = 0, 0
        self._folder: Path | None = None
        self._held: int | None = None
        self._reaper: subprocess.Popen[bytes] | None = None
        self._spawner: Spawner | None = None

    @property
    def folder(self) -> Path:
        """Where its socket and its files are."""
        if self._folder is None:
            raise NotOpen("The private server", closed=False)
        return self._folder

    @property
    def data(self) -> Path:
        """Where the server keeps its files."""
        return self.folder / reaper.DATA

    @property
    def same_major(self) -> bool:
        """Whether it is of the version that was wanted."""
        return self.recipe.major in {None, self.major}

    def url(self, database: str) -> str:
        """The address of one of its databases, for programs of this user."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.folder), safe='')}&port={self.port}"

    async def start(self, *, sources: Sequence[Source] = SOURCES) -> None:
        """Start it, or leave nothing. Raises ServerMissing if there is no PostgreSQL, ServerFailed if it fails."""
        self._found()
        try:
            running = await self._bring_up(sources)
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
        watching, self._reaper = self._reaper, None
        if watching is not None:
            await asyncio.to_thread(_dismiss, watching, self.folder)
        held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def _found(self) -> None:
        """A folder of our own (0700), held and watched from its first moment on."""
        place = tempfile.gettempdir()
        if len(place.encode()) > _PLACE_BYTES_MAX:
            place = "/tmp"  # noqa: S108 - the folder made in it is private
        self._folder = Path(tempfile.mkdtemp(prefix=reaper.PREFIX, dir=place)).resolve()
        try:
            self._held = os.open(self._folder / reaper.HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Some file systems know no locks; nobody can take the hold for given up there.
            with contextlib.suppress(OSError):
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._reaper = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-I", "-S", reaper.__file__, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(self._held,),
                # Ctrl-C in a terminal must not end it before its maker.
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._spawner = Spawner()

    async def _bring_up(self, sources: Sequence[Source]) -> Running:
        if self._spawner is None:
            raise NotOpen("The private server", closed=True)
        site, start = Site(reaper.DATA, self.folder), Start(self._spawner, detached=False, sources=sources)
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


def _dismiss(watching: subprocess.Popen[bytes], folder: Path) -> None:
    """Let the folder be taken away, and see to it."""
    if watching.stdin is not None:
        with contextlib.suppress(OSError):
            watching.stdin.close()
    try:
        watching.wait(_GONE_SECONDS)
    except subprocess.TimeoutExpired:
        # Its disk hangs, and it goes on without us.
        return
    # Somebody may have killed it.
    shutil.rmtree(folder, ignore_errors=True)
