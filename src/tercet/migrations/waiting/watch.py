"""A build watched from beside: how far it is, whom it waits for, and whether to begin it again later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tercet.migrations.blocks import blocks
from tercet.migrations.waiting.blocker import Blocker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.sql import Index
    from tercet.sql.port import Connection, Database

# Often enough for a bar that moves, seldom enough to cost the server nothing.
_LOOK_SECONDS = 0.2
# The phase in which nothing has been built yet: to begin again loses nothing.
_FIRST = "waiting for writers before build"


class Watch:
    """Looks on while `index` is built.

    `on_progress` is told (done, total), `on_waiting` who is waited for. A build that has waited for `patience`
    seconds before it built anything is ended, for who waits holds a lock that others queue behind: `stuck` names
    the one it waited for. Later waits are only told; to end those would throw the work away.
    """

    def __init__(
        self,
        database: Database,
        index: Index,
        *,
        on_progress: Callable[[int, int], None] | None = None,
        on_waiting: Callable[[Sequence[Blocker]], None] | None = None,
        patience: float | None = None,
    ) -> None:
        self.stuck: tuple[Blocker, ...] = ()
        self._database, self._index = database, index
        self._on_progress, self._on_waiting, self._patience = on_progress, on_waiting, patience
        self._sql = blocks("tercet.migrations.waiting", "waiting.sql")
        self._waiting_since: float | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody is to be told anything."""
        return self._on_progress is not None or self._on_waiting is not None or self._patience is not None

    async def run(self) -> None:
        """Look on until it is cancelled."""
        async with self._database.autocommit() as connection:
            while True:
                names = (self._index.qualified, self._index.qualified_table)
                for row in (await connection.exec_driver_sql(self._sql["progress"], names)).all():
                    await self._look(connection, tuple(row))
                await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self, connection: Connection, row: tuple[Any, ...]) -> None:
        pid, phase, done, total, lockers, locker = row
        if total and self._on_progress is not None:
            self._on_progress(done, total)
        if not lockers:
            self._waiting_since = None
            return
        now = asyncio.get_running_loop().time()
        self._waiting_since = self._waiting_since if self._waiting_since is not None else now
        late = phase == _FIRST and self._patience is not None and now - self._waiting_since >= self._patience
        if self._on_waiting is None and not late:
            return
        values = (locker or 0, self._index.qualified_table)
        found = tuple(Blocker(*one) for one in (await connection.exec_driver_sql(self._sql["locker"], values)).all())
        if found and self._on_waiting is not None:
            self._on_waiting(found)
        if late and not self.stuck:
            self.stuck = found or (Blocker(None, "unknown"),)
            await connection.exec_driver_sql("select pg_cancel_backend($1)", (pid,))
