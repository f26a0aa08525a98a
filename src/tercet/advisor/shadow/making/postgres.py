"""The two connections to a shadow: the one that crafts may do all, the one that plans owns the tables and no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import words
from tercet.advisor.port import Refused
from tercet.advisor.private.cluster import SUPERUSER
from tercet.errors import StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tercet.advisor.shadow.taken.dump import Made

PLANNER = "tercet"
_DATABASE = "postgres"
# Planning takes milliseconds; a statement with which the planner is lost for longer is refused.
PLANNING_SECONDS = 60.0
# Statements of one round trip: each locks a handful of things, and there is room for some hundred locks.
TOGETHER = 50


class Link:
    """A connection of a shadow; what its server refuses is told in the server's words."""

    __slots__ = ("connection", "statements")

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.statements = blocks("tercet.advisor.shadow.making", "build.sql")

    @classmethod
    async def open(cls, folder: Path, port: int, user: str) -> Link:
        """Connect through the socket in the shadow's own folder."""
        connection = await asyncpg.connect(
            host=str(folder),
            port=port,
            user=user,
            database=_DATABASE,
            ssl=False,
            # Never asked twice in the same words, except by the one that crafts.
            statement_cache_size=100 if user == SUPERUSER else 0,
            command_timeout=PLANNING_SECONDS,
        )
        return cls(connection)

    async def run(self, sql: str) -> None:
        """Run what has no answer, one statement or several."""
        await self.connection.execute(sql)

    async def attempt(self, sql: str) -> str | None:
        """Run it; None if it went well, else the server's words."""
        try:
            await self.connection.execute(sql)
        except REFUSALS as error:
            return words(error)
        return None

    async def rows(self, block: str, *values: Any) -> Sequence[Sequence[Any]]:
        """The rows of a block of build.sql."""
        found: Sequence[Sequence[Any]] = await self.connection.fetch(self.statements[block], *values)
        return found

    async def make(self, wanted: Iterable[Made]) -> tuple[str, ...]:
        """Run these in turn; those that fail again once the others are there, until none goes. What could not be."""
        waiting = list(wanted)
        while waiting:
            failed: list[tuple[Made, str]] = []
            for at in range(0, len(waiting), TOGETHER):
                failed += await self._together(waiting[at : at + TOGETHER])
            if len(failed) == len(waiting):
                return tuple(f"{made.what}: {why}" for made, why in failed)
            waiting = [made for made, _ in failed]
        return ()

    async def _together(self, several: Sequence[Made]) -> list[tuple[Made, str]]:
        """Run these in one round trip, which does all or nothing; then one by one."""
        if len(several) > 1 and await self.attempt(";\n".join(made.ddl for made in several)) is None:
            return []
        tried = [(made, await self.attempt(made.ddl)) for made in several]
        return [(made, why) for made, why in tried if why is not None]

    async def close(self) -> None:
        """End it at once; its server goes, too."""
        self.connection.terminate()
        await asyncio.sleep(0)


REFUSALS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, UnicodeEncodeError)


def refusal(links: Iterable[Link], name: str, error: BaseException) -> Refused:
    """That the server does not take this; raises StoreUnreachable if it is the server that is gone."""
    if any(link.connection.is_closed() for link in links):
        raise StoreUnreachable("postgres", reason="the shadow's server has ended") from error
    return Refused(name, words(error))
