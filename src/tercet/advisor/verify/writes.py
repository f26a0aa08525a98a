"""What new indexes cost those who write: a batch with them and without them, in transactions that are rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import sqlstate
from tercet.advisor.verify.change import Drop
from tercet.advisor.verify.paired import compare_pairs
from tercet.advisor.verify.runs import Arm
from tercet.sql import Index, identifier

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tercet.advisor.verify.building import Built
    from tercet.advisor.verify.change import Bounds
    from tercet.advisor.verify.runs import Runs
    from tercet.sql.port import Connection

# One pair to warm up, and as many more as a median of their ratios needs on a busy machine.
_PAIRS = 8


@dataclass(frozen=True, slots=True)
class WriteCost:
    """How many percent dearer a batch became; None where it could not be tried."""

    insert_percent: float | None
    update_percent: float | None


@dataclass
class Writes:
    """Measures batches on the tables of indexes, in a sandbox only."""

    runs: Runs
    bounds: Bounds

    async def measure(self, built: Sequence[Built], active: Collection[int], costs: dict[int, WriteCost]) -> None:
        """Put the cost of each index that stays into `costs`, by its place; below zero for one that goes."""
        for at in sorted(active):
            one = built[at]
            if isinstance(one.change, Index | Drop) and one.oids:
                costs[at] = await self._cost(one)
        if costs:
            # What was rolled back has left pages that an index-only scan would have to look into.
            async with self.runs.place.autocommit() as connection:
                await connection.exec_driver_sql("vacuum")

    async def _cost(self, one: Built) -> WriteCost:
        """Both batches, without the index and with it, in turns."""
        sql = blocks("tercet.advisor.verify", "verify.sql")
        async with self.runs.place.transaction() as connection:
            (row,) = (await connection.exec_driver_sql(sql["table_of"], (list(one.oids),))).all()
            table: str = row[0]
            rows = (await connection.exec_driver_sql(sql["columns"], (table, list(one.oids)))).all()
        names = [identifier(name) for name, _, _ in rows]
        held = [identifier(name) for name, inside, fixed in rows if inside and not fixed]
        insert = sql["insert"].format(table=table, columns=", ".join(names))
        update = sql["update"].format(
            table=table,
            assignments=", ".join(f"{name} = n.{name}" for name in held),
            moved=", ".join(sql["moved"].format(column=name) for name in held),
        )
        batch = [sql["batch"].format(table=table, rows=self.bounds.write_rows), *_BEFORE]
        added = await self._percent(one, (*batch, sql["removed"].format(table=table), _GUARDED), insert)
        moved = await self._percent(one, (*batch, _GUARDED), update) if held else None
        return WriteCost(added, moved)

    async def _percent(self, one: Built, prepared: Sequence[str], statement: str) -> float | None:
        """How much longer the statement takes by the change; None if the table does not take it."""
        taken: tuple[list[float], list[float]] = ([], [])
        for at in range(_PAIRS):
            for side in (0, 1) if at % 2 == 0 else (1, 0):
                arm = Arm(statement, one.oids if side == 0 else frozenset(), writes=True)
                ms = await self._batch(arm, prepared)
                if ms is None:
                    return None
                taken[side].append(ms)
        # The first pair has warmed what both read.
        paired = compare_pairs(taken[0][1:], taken[1][1:])
        # What an index costs is told of a new one; of one that goes, what its absence saves.
        return (paired.ratio if isinstance(one.change, Drop) else 1 / paired.ratio) * 100 - 100

    async def _batch(self, arm: Arm, prepared: Sequence[str]) -> float | None:
        try:
            async with self.runs.undone(arm, self.bounds.statement_seconds) as connection:
                return await self._written(connection, arm.sql, prepared)
        except Exception as error:
            if not sqlstate(error):
                raise
            return None

    async def _written(self, connection: Connection, statement: str, prepared: Sequence[str]) -> float:
        for step in prepared:
            await connection.exec_driver_sql(step)
        return await self.runs.timed(connection, statement)


# Rows are found by their places, and what refers to rows that are away for a moment does not mind.
_BEFORE = (
    "analyze tercet_batch",
    "set local enable_hashjoin = off",
    "set local enable_mergejoin = off",
    "set local session_replication_role = replica",
)
# What is measured has its foreign keys checked, as always.
_GUARDED = "set local session_replication_role = origin"
