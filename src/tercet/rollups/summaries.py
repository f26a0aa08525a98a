"""Summaries: filled once, then kept by the writers' own transactions."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.errors import DefinitionMismatch
from tercet.migrations import Connection, Database, alone_until_commit, build_index, vacuum
from tercet.rollups.relation import find, mark_of
from tercet.rollups.views import Created
from tercet.sql import identifier
from tercet.sql.identifier import Name, table_parts

if TYPE_CHECKING:
    from tercet.rollups.summary import Summary

_SCHEMA = """
select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $1::text::regclass
"""

# The child is locked against writers while the summary is filled. Whoever cannot have that lock soon gives up,
# for behind a waiting one every other writer would queue.
_LOCK_TIMEOUT = "set local lock_timeout = '5s'"


async def create_summary(database: Database, summary: Summary) -> Created:
    """Create `summary`, filled from what is there, with the triggers that keep it from then on.

    Writers of the parent and the child wait while it is filled; readers do not. One that is there already with
    the same definition is kept. Raises DefinitionMismatch when a table of that name is something else.
    """
    started = time.perf_counter()
    # Filling it takes as long as the child table is big; the pool's limit for ordinary statements is not meant for it.
    async with database.transaction(within=0) as connection:
        await alone_until_commit(connection, f"the creation of the summary {identifier(summary.name)}")
        summary = await _located(connection, summary)
        name, statements = identifier(summary.name), tuple(summary.create())
        found, mark = await find(connection, name, "r"), mark_of(repr(statements))
        if found is None:
            await _fill(connection, summary, statements)
            await connection.exec_driver_sql(f"comment on table {name} is '{mark}'")
        elif found.mark != mark:
            raise DefinitionMismatch("summary", name, wanted=statements[0], found=found.mark or "made by hand")
    for index in summary.indexes:
        await build_index(database, index)
    await vacuum(database, name)
    async with database.transaction() as connection:
        after = await find(connection, name, "r")
    size = after.size_bytes if after else 0
    return Created(name, time.perf_counter() - started, size, existed=found is not None)


async def _located(connection: Connection, summary: Summary) -> Summary:
    """The summary with every table's schema: the parent's own for it, too, unless it names another."""

    async def located(table: Name) -> Name:
        schema = (await connection.exec_driver_sql(_SCHEMA, (identifier(table),))).all()[0][0]
        return (schema, table_parts(table)[-1])

    parent, child = await located(summary.parent), await located(summary.child)
    *schema, name = table_parts(summary.name)
    return replace(summary, parent=parent, child=child, name=(*(schema or parent[:1]), name))


async def _fill(connection: Connection, summary: Summary, statements: tuple[str, ...]) -> None:
    tables = ", ".join((identifier(summary.parent), identifier(summary.child)))
    await connection.exec_driver_sql(_LOCK_TIMEOUT)
    await connection.exec_driver_sql(f"lock table {tables} in share row exclusive mode")
    for statement in statements:
        await connection.exec_driver_sql(statement)


async def drop_summary(database: Database, summary: Summary) -> None:
    """Drop `summary` and its triggers; nothing happens when it is not there."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(_LOCK_TIMEOUT)
        for statement in summary.drop():
            await connection.exec_driver_sql(statement)
