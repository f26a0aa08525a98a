"""The steps of a set-up are run: with a short patience for locks, again where it was too short, and none twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tercet.changes.setup.sqlstate import sqlstate
from tercet.errors import LockBusy
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tercet.changes.setup.step import Step
    from tercet.sql.port import Connection, Database

# Behind a statement that waits for a table everybody else waits, too; so it waits shortly, and more than once.
LOCK_SECONDS = 2.0
TRIES = 10
# Between two tries, so that those who had to wait get through.
_PAUSE_SECONDS = 1.0

# lock_not_available: the lock_timeout has passed.
_LOCK_TIMEOUT = "55P03"

_LEFT_OVER = """
select exists (select from pg_index i where i.indexrelid = to_regclass($1) and not i.indisvalid)
"""
_THERE = """
select exists (select from pg_index i where i.indexrelid = to_regclass($1) and i.indisvalid)
"""


async def apply(
    database: Database, steps: Iterable[Step], *, lock: float = LOCK_SECONDS, tries: int = TRIES
) -> tuple[Step, ...]:
    """Run the steps in their order; those that were run.

    What is applied is not planned again: `plan` after `look` is empty when all is there. A run that was cut off is
    mended by another plan. A step waits for a lock for `lock` seconds, and is tried `tries` times; then it raises
    LockBusy, and the steps before it stay.
    """
    done = []
    for step in steps:
        for attempt in range(tries):
            try:
                await _run(database, step, lock)
                break
            except Exception as error:
                if sqlstate(error) != _LOCK_TIMEOUT:
                    raise
                if attempt + 1 == tries:
                    raise LockBusy(f"the step to {step.says}") from error
                await asyncio.sleep(_PAUSE_SECONDS)
        done.append(step)
    return tuple(done)


async def _run(database: Database, step: Step, lock: float) -> None:
    if step.alone:
        async with database.autocommit() as connection:
            await _build(connection, step)
        return
    # Behind a pooler, too: the limit ends with the transaction.
    async with database.transaction(within=0) as connection:
        await connection.exec_driver_sql("select set_config('lock_timeout', $1, true)", (f"{round(lock * 1000)}ms",))
        for statement in step.statements:
            await connection.exec_driver_sql(statement)


async def _build(connection: Connection, step: Step) -> None:
    """Concurrently built: without a limit, for waiting for old snapshots counts as waiting for a lock."""
    name = identifier(step.index) if step.index else None
    if name and (await connection.exec_driver_sql(_THERE, (name,))).all()[0][0]:
        return
    if name and (await connection.exec_driver_sql(_LEFT_OVER, (name,))).all()[0][0]:
        await connection.exec_driver_sql(f"drop index concurrently if exists {name}")
    for statement in step.statements:
        await connection.exec_driver_sql(statement)


def migration(steps: Iterable[Step]) -> str:
    """The steps as SQL, to be saved into a migration and read before it is run."""
    return "\n\n".join(step.sql() for step in steps) + "\n"
