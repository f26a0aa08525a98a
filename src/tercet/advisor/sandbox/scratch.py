"""An empty database of our own, for as long as a block lasts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tercet.advisor.sandbox.server.cluster import Cluster
from tercet.advisor.sandbox.server.postgres_desk import Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tercet.advisor.port import Database

# 180006 is 18.6.
_MAJOR = 10_000


@asynccontextmanager
async def scratch(version: int = 0) -> AsyncIterator[Database]:
    """An empty database in a server of this server_version_num's major version, or of any if there is none here.

    Raises ServerMissing where no PostgreSQL is.
    """
    cluster = await Cluster.start(version // _MAJOR or None)
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
