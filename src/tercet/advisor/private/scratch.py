"""An empty database of our own, for as long as a block lasts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tercet.advisor.private.cluster import Cluster
from tercet.advisor.private.postgres_desk import Desk
from tercet.advisor.private.recipe import Recipe, major_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tercet.sql.port import Database


@asynccontextmanager
async def scratch(version: int = 0) -> AsyncIterator[Database]:
    """An empty database in a server of this server_version_num's major version, or of the nearest that is here.

    Raises ServerMissing where no PostgreSQL is.
    """
    cluster = Cluster(Recipe(major_of(version)))
    await cluster.start()
    desk = Desk(cluster.url("postgres"))
    try:
        yield desk
    finally:
        await asyncio.shield(_end(desk, cluster))


async def _end(desk: Desk, cluster: Cluster) -> None:
    try:
        await desk.close()
    finally:
        await cluster.close()
