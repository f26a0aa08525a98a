"""Waiting for old transactions before anything is locked, so that nobody queues behind the wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tercet.errors import BuildBlocked
from tercet.migrations.blocks import blocks
from tercet.migrations.waiting.blocker import Blocker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.sql.port import Database

# What is younger has mostly ended by itself before a build comes to wait for it.
OLD_SECONDS = 1.0
# How often somebody is looked for who has ended meanwhile.
_LOOK_SECONDS = 0.5
# Two views of the server's own; nothing there takes longer.
_WITHIN = "10s"


async def blockers(
    database: Database, table: str, *, older_than: float = OLD_SECONDS, but: Sequence[int] = ()
) -> tuple[Blocker, ...]:
    """The transactions that a build on `table`, a quoted name, would wait for now, the oldest first.

    Those begun in the last `older_than` seconds are left out, and the processes in `but`.
    """
    async with database.transaction(within=_WITHIN) as connection:
        statement = blocks("tercet.migrations.waiting", "waiting.sql")["blockers"]
        rows = (await connection.exec_driver_sql(statement, (table, list(but), older_than))).all()
    return tuple(Blocker(*row) for row in rows)


async def clear(
    database: Database,
    table: str,
    *,
    what: str,
    wait: float,
    on_waiting: Callable[[Sequence[Blocker]], None] | None = None,
    left: str = "",
) -> None:
    """Return when no old transaction stands in the way of a build on `table`; nothing is locked meanwhile.

    `on_waiting` is told who it is, again and again. Raises BuildBlocked when they have not ended within `wait` seconds;
    `left` is the invalid index that is there then.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while found := await blockers(database, table):
        if on_waiting is not None:
            on_waiting(found)
        if loop.time() >= deadline:
            raise blocked(what, found, wait, left=left)
        await asyncio.sleep(_LOOK_SECONDS)


def blocked(what: str, found: Sequence[Blocker], waited: float, *, left: str = "") -> BuildBlocked:
    """The error that names them."""
    return BuildBlocked(
        what, blockers=tuple(one.words() for one in found), waited=waited, end=found[0].mend(), left=left
    )
