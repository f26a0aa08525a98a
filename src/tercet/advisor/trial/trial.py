"""Plans with indexes that are really there: built on a copy, switched on and off for one question at a time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import sqlstate, words
from tercet.advisor.port import Costed, EngineKind, Refused, Supposed
from tercet.advisor.sandbox.undone import undone
from tercet.advisor.verify.values import parametric
from tercet.errors import UsageError
from tercet.sql import Index, Plan, View, identifier
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from tercet.advisor.catalog import Qualified
    from tercet.advisor.sandbox import Sandbox
    from tercet.sql.port import Connection

# A planner that needs longer than this for one statement is stuck in its joins.
_PLAN_SECONDS = 30.0


class Trial:
    """A WhatIf whose indexes are real: true costs, true sizes, and seconds instead of milliseconds to make one.

    It works on a sandbox that somebody else closes; closing the trial takes away what it has built there.
    """

    kind: EngineKind = "trial"

    def __init__(self, sandbox: Sandbox, *, why: str = "") -> None:
        self._sandbox = sandbox
        part = "a sample" if sandbox.sampled else "a copy"
        self.why = why or f"indexes are really built, on {part} of {len(sandbox.tables)} tables"
        self._sql = blocks("tercet.advisor.trial", "trial.sql")
        self._known: dict[str, Supposed] = {}
        self._oids: dict[str, list[int]] = {}
        self._made: list[Index | View] = []

    async def suppose(self, indexes: Sequence[Index]) -> Mapping[str, Supposed | Refused]:
        """Build them, all out of sight, and tell what they take; of a sample's, what they would in production."""
        told: dict[str, Supposed | Refused] = {}
        for index in indexes:
            told[index.name] = self._known.get(index.name) or await self._build(index)
        return told

    async def suppose_view(self, view: View, *, rows: float) -> Supposed | Refused:
        """Make a materialized view with its indexes of the copy's rows.

        How many it holds is counted; of a sample it is what was expected (`rows`), which its size is scaled to.
        """
        name = table_parts(view.name)[-1]
        if name in self._known:
            return self._known[name]
        statements = [view.create(), *(one.create(concurrently=False) for one in view.all_indexes)]
        refused = await self._attempt(name, statements)
        if refused is not None:
            return refused
        self._made.append(view)
        await self._alone(f"vacuum (analyze) {view.qualified}")
        async with self._sandbox.transaction() as connection:
            found = (await connection.exec_driver_sql(self._sql["view"], (view.qualified,))).all()[0]
        size, counted = int(found[0]), max(float(found[1]), 0.0)
        scale = max(1.0, rows / counted) if self._sandbox.sampled and counted else 1.0
        self._known[name] = Supposed(name, round(size * scale), None, counted * scale, measured=scale == 1.0)
        return self._known[name]

    async def cost(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Costed | Refused:
        """The planner's cost of a statement; one with $1 in it is planned generically."""
        plan = await self.plan(sql, using=using, hiding=hiding, search_path=search_path)
        return plan if isinstance(plan, Refused) else Costed(plan.root.cost, frozenset(plan.indexes))

    async def plan(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Plan | Refused:
        """The whole plan of a statement."""
        shown = [oid for name in using for oid in self._of(name)]
        try:
            async with self._switched(shown, hiding) as connection:
                if search_path:
                    path = ", ".join(identifier(schema) for schema in search_path)
                    await connection.exec_driver_sql(f"set local search_path = {path}")
                return await self._explain(connection, sql.strip().rstrip(";"))
        except Exception as error:
            if not sqlstate(error):
                raise
            return Refused(sql, words(error))

    async def close(self) -> None:
        """Take away what was built; twice is fine."""
        while self._made:
            made = self._made.pop()
            await self._alone(made.drop(concurrently=False) if isinstance(made, Index) else made.drop())
        self._known.clear()
        self._oids.clear()

    async def _build(self, index: Index) -> Supposed | Refused:
        if await self._found(index) is not None:
            return Refused(index.name, "an index of this name is there already")
        refused = await self._attempt(index.name, [index.create(concurrently=False)])
        if refused is not None:
            return refused
        self._made.append(index)
        if any(not isinstance(key.of, str) for key in index.keys):
            # The planner knows an expression's values by the index's own statistics.
            await self._alone(f"analyze {index.qualified_table}")
        oids, size, tuples = await self._found(index) or ([], 0, 0.0)
        async with self._sandbox.transaction() as connection:
            level = (await connection.exec_driver_sql(self._sql["level"], (index.qualified,))).all()
            await connection.exec_driver_sql(self._sql["switch"], ([], oids))
        scale = self._scale(index)
        height = int(level[0][0]) if level and scale == 1.0 else None
        self._oids[index.name] = oids
        self._known[index.name] = Supposed(
            index.name, round(size * scale), height, tuples * scale, measured=scale == 1.0
        )
        return self._known[index.name]

    async def _found(self, index: Index) -> tuple[list[int], int, float] | None:
        async with self._sandbox.transaction() as connection:
            row = (await connection.exec_driver_sql(self._sql["index"], (index.qualified,))).all()[0]
        return (list(row[0]), int(row[1]), float(row[2])) if row[0] else None

    async def _attempt(self, name: str, statements: Sequence[str]) -> Refused | None:
        try:
            async with self._sandbox.transaction(within=0) as connection:
                for statement in statements:
                    await connection.exec_driver_sql(statement)
        except Exception as error:
            if not sqlstate(error):
                raise
            return Refused(name, words(error))
        return None

    async def _alone(self, statement: str) -> None:
        async with self._sandbox.autocommit() as connection:
            await connection.exec_driver_sql(statement)

    @asynccontextmanager
    async def _switched(self, shown: Sequence[int], hiding: Collection[str]) -> AsyncIterator[Connection]:
        """A transaction in which these are there and those are not; nothing of it stays."""
        async with undone(self._sandbox, _PLAN_SECONDS) as connection:
            hidden: list[int] = []
            if hiding:
                rows = (await connection.exec_driver_sql(self._sql["named"], (list(hiding),))).all()
                hidden = [oid for row in rows for oid in row[1]]
            if shown or hidden:
                await connection.exec_driver_sql(self._sql["switch"], (list(shown), hidden))
            yield connection

    async def _explain(self, connection: Connection, sql: str) -> Plan:
        if not parametric(sql):
            rows = (await connection.exec_driver_sql(self._sql["explain"].format(sql=sql))).all()
        else:
            rows = await self._prepared(connection, sql)
        return Plan.read(rows[0][0])

    async def _prepared(self, connection: Connection, sql: str) -> Sequence[Sequence[object]]:
        """The generic plan, as every version tells it: of a prepared statement that is made to have no other."""
        await connection.exec_driver_sql("set local plan_cache_mode = force_generic_plan")
        await connection.exec_driver_sql("deallocate all")
        await connection.exec_driver_sql(self._sql["prepare"].format(sql=sql))
        count = int((await connection.exec_driver_sql(self._sql["parameters"])).all()[0][0])
        values = f"({', '.join(['null'] * count)})"
        rows: Sequence[Sequence[object]] = (
            await connection.exec_driver_sql(self._sql["execute"].format(values=values))
        ).all()
        return rows

    def _of(self, name: str) -> list[int]:
        if name not in self._oids:
            raise UsageError(f"The trial does not know an index {name!r}.", "Make it known with suppose().")
        return self._oids[name]

    def _scale(self, index: Index) -> float:
        parts = table_parts(index.table)
        for table in self._sandbox.tables:
            if _same(table, parts):
                return self._sandbox.scale(table)
        return 1.0


def _same(table: Qualified, parts: tuple[str, ...]) -> bool:
    return table == parts or (len(parts) == 1 and table[1] == parts[0])
