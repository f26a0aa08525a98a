"""Rollups are built while the table is written to: triggers first, then what was there before, range by range."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.errors import DefinitionMismatch, LockBusy, SchemaInvalid, UsageError
from tercet.migrations import alone_until_commit, build_index, vacuum
from tercet.rollups.blocks import blocks
from tercet.rollups.kept.content import EXACT
from tercet.rollups.kept.ranges import RANGE_ROWS, call, plainly, ranges
from tercet.rollups.kept.statements import BLOCKS, Statements, definition, drops, functions_of, kept_table, probes
from tercet.rollups.memory import Known, filled, forget, known, prepare
from tercet.rollups.relation import find, mark_of
from tercet.rollups.views import Created
from tercet.sql import Index, identifier
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tercet.migrations import Connection, Database
    from tercet.rollups.kept.ranges import Range
    from tercet.rollups.kept.rollup import Rollup
    from tercet.sql.identifier import Name

# Triggers need a lock for which the table's writers must have ended; behind one that waits, other writers queue.
# So it is asked for shortly, and again: some transaction that writes for long is outlived in the end.
_LOCK_TIMEOUT = "set local lock_timeout = '1s'"
_LOCK_TRIES = 60
_LOCK_PAUSE_SECONDS = 0.5
_LOCK_REFUSED = "55P03"
# A build and a repair wait for a batch of a merge to end; one that takes longer than this is stuck.
TURN_SECONDS = 30.0
_TURN_PAUSE_SECONDS = 0.05
# What PostgreSQL says of an index over an expression that is not always the same for the same row.
_NOT_IMMUTABLE = "42P17"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the server says of a table."""

    kind: str
    schema: str
    name: str
    owner: str
    secured: bool
    forced: bool
    hidden: bool
    major: int


async def create_rollup(
    database: Database, rollup: Rollup, *, rows: int = RANGE_ROWS, on_range: Callable[[Range], None] | None = None
) -> Created:
    """Create `rollup`, filled from what is there, with the triggers that keep it from then on.

    Writers wait only while the triggers are made. What was there is counted range by range, each in a transaction of
    its own, of about so many `rows`; one that was cut off goes on where it was when it is called again. One that is
    there with the same definition is kept, and its triggers are added to partitions that have come since.
    Raises DefinitionMismatch when something else has its name, LockBusy when somebody else is building it,
    SchemaInvalid for what cannot be kept exactly, UsageError for a table whose rows are hidden by row security.
    """
    started = time.perf_counter()
    rollup = await located(database, rollup)
    statements, state = await _begun(database, rollup)
    existed = state is not None and state.state == "ready"
    if not existed:
        after = state.place if state is not None else None
        async for one in ranges(database, statements, after=after, rows=rows):
            await _fill(database, statements, one)
            if on_range is not None:
                on_range(one)
        await _finish(database, statements)
    for index in stored_indexes(rollup):
        await build_index(database, index)
    await vacuum(database, identifier(rollup.place))
    async with database.transaction() as connection:
        after_all = await find(connection, identifier(rollup.place), "r")
    size = after_all.size_bytes if after_all else 0
    return Created(rollup.qualified, time.perf_counter() - started, size, existed=existed)


async def drop_rollup(database: Database, rollup: Rollup) -> None:
    """Drop `rollup` with its triggers and tables; nothing happens when it is not there."""
    await drop_named(database, (await located(database, rollup)).name)


async def drop_named(database: Database, name: Name) -> None:
    """Drop the rollup of this name, which has its schema in it, whatever there is of it."""

    async def work(connection: Connection) -> None:
        await alone_until_commit(connection, lock(name))
        await connection.exec_driver_sql(_LOCK_TIMEOUT)
        for statement in drops(name):
            await connection.exec_driver_sql(statement)
        await forget(connection, identifier(name))

    await _patiently(database, work)


async def known_statements(database: Database, rollup: Rollup) -> Statements:
    """What is said to the server for a rollup that is there; UsageError if it is not."""
    rollup = await located(database, rollup)
    async with database.transaction() as connection:
        found = await find(connection, identifier(rollup.place), "r")
        if found is None:
            raise UsageError(f"There is no rollup {rollup.qualified}.", "Make it first, with create_rollup.")
        if found.mark != mark_of(definition(rollup)):
            raise _another(rollup, found.mark)
        return await _statements(connection, rollup)


def lock(name: Name) -> str:
    """The name of the lock under which a rollup's groups are filled, merged or repaired."""
    return f"the upkeep of the rollup {identifier(name)}"


async def _begun(database: Database, rollup: Rollup) -> tuple[Statements, Known | None]:
    """Its tables and triggers, made or found; and how far it had been filled when they were found."""
    made: list[tuple[Statements, Known | None]] = []

    async def work(connection: Connection) -> None:
        made.append(await _make(connection, rollup))

    await _patiently(database, work)
    return made[-1]


async def _make(connection: Connection, rollup: Rollup) -> tuple[Statements, Known | None]:
    await alone_until_commit(connection, lock(rollup.name))
    facts = await checked(connection, rollup)
    await prepare(connection, needed=True)
    place, mark = identifier(rollup.place), mark_of(definition(rollup))
    found = await find(connection, place, "r")
    if found is not None and found.mark != mark:
        raise _another(rollup, found.mark)
    if found is None and (await find(connection, rollup.qualified, "v")) is not None:
        raise _another(rollup, "")
    state = await known(connection, rollup.qualified) if found is not None else None
    parts = await _parts(connection, rollup)
    await plainly(connection)
    if found is None:
        await _probe(connection, rollup)
        await connection.exec_driver_sql(kept_table(rollup))
        await connection.exec_driver_sql(f"comment on table {place} is '{mark}'")
    statements = await _statements(connection, rollup)
    if found is None:
        check_types(statements, await _types(connection, rollup))
        for statement in (*statements.kept(), *statements.functions()):
            await connection.exec_driver_sql(statement)
        await _guard(connection, rollup, facts)
        await filled(connection, rollup.qualified, "filling", None)
    missing = [part for part in parts if not await _triggered(connection, rollup, part)]
    if missing:
        await connection.exec_driver_sql(_LOCK_TIMEOUT)
        tables = ", ".join(identifier(part) for part in missing)
        await connection.exec_driver_sql(f"lock table {tables} in share row exclusive mode")
        for statement in (one for part in missing for one in statements.triggers(identifier(part))):
            await connection.exec_driver_sql(statement)
    return statements, state


async def _probe(connection: Connection, rollup: Rollup) -> None:
    """Refuse keys and conditions that depend on more than the row: on the time, a setting, or another table."""
    for statement in probes(rollup):
        try:
            await connection.exec_driver_sql(statement)
        except Exception as error:
            if _sqlstate(error) != _NOT_IMMUTABLE:
                raise
            raise SchemaInvalid(
                f"The rollup {rollup.qualified}",
                reason="a key or its condition depends on more than the row (the time, a setting)",
                mend="Say what it depends on: date_trunc('day', at at time zone 'UTC'), for instance.",
            ) from error


async def turn(connection: Connection, rollup: Rollup, *, wait: float = TURN_SECONDS) -> None:
    """Hold the lock of the rollup's upkeep until the transaction ends; LockBusy if others have it for so long."""
    until = time.monotonic() + wait
    while True:
        try:
            return await alone_until_commit(connection, lock(rollup.name))
        except LockBusy:
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(_TURN_PAUSE_SECONDS)


async def _fill(database: Database, statements: Statements, one: Range) -> None:
    rollup = statements.rollup
    async with database.transaction(within=0) as connection:
        await turn(connection, rollup)
        await plainly(connection)
        await call(connection, statements, "replace", one)
        await filled(connection, rollup.qualified, "filling", one.high)


async def _finish(database: Database, statements: Statements) -> None:
    """The view under which it is read, for whoever may read the table, unless rows are hidden from some."""
    rollup = statements.rollup
    async with database.transaction(within=0) as connection:
        await turn(connection, rollup)
        facts = await _facts(connection, rollup.table)
        await plainly(connection)
        await connection.exec_driver_sql(statements.view())
        await connection.exec_driver_sql(f"alter view {rollup.qualified} owner to {identifier(facts.owner)}")
        for reader in await _readers(connection, rollup):
            to = identifier(reader) if reader else "public"
            await connection.exec_driver_sql(f"grant select on {rollup.qualified} to {to}")
        await filled(connection, rollup.qualified, "ready", None)


async def _readers(connection: Connection, rollup: Rollup) -> list[str]:
    """Who may read all of its tables: the sums of rows that are hidden from somebody are shown to nobody unasked."""
    tables = [rollup.table, *([rollup.parent.table] if rollup.parent else [])]
    readers: set[str] | None = None
    for table in tables:
        if (await _facts(connection, table)).secured:
            return []
        asked = await connection.exec_driver_sql(blocks(*BLOCKS)["grants"], (identifier(table),))
        some = {row[0] for row in asked.all()}
        readers = some if readers is None else readers & some
    return sorted(readers or ())


async def _guard(connection: Connection, rollup: Rollup, facts: _Facts) -> None:
    """All belongs to the table's owner, and nobody else can call its functions: not from a trigger of theirs either."""
    owner = identifier(facts.owner)
    for table in (rollup.place, *([rollup.log] if rollup.way == "delta" else [])):
        await connection.exec_driver_sql(f"alter table {identifier(table)} owner to {owner}")
    for function in functions_of(rollup):
        name = identifier(rollup.beside(function))
        await connection.exec_driver_sql(f"revoke all on routine {name} from public")
        await connection.exec_driver_sql(f"alter routine {name} owner to {owner}")


async def checked(connection: Connection, rollup: Rollup) -> _Facts:
    """What the server says of its table; UsageError for one whose rows cannot be counted."""
    facts = await _facts(connection, rollup.table)
    if facts.kind not in {"r", "p"}:
        mend = "Only what is written to can keep it: name the table itself."
        raise UsageError(f"{identifier(rollup.table)} is no table.", mend)
    parent = rollup.parent
    for each in (facts, *([await _facts(connection, parent.table)] if parent else [])):
        if each.forced or each.hidden:
            raise UsageError(
                f"Row security hides rows of {identifier((each.schema, each.name))} from whoever would count them.",
                "Let a role count that sees all rows (BYPASSRLS), and take FORCE ROW LEVEL SECURITY off.",
            )
    if parent is not None:
        asked = (identifier(parent.table), parent.key)
        if not (await connection.exec_driver_sql(blocks(*BLOCKS)["unique_parent"], asked)).all()[0][0]:
            raise UsageError(
                f"{identifier(parent.table)} has no unique index of {parent.key!r} alone.",
                "Name the column that its rows are known by: Parent(table, key=…).",
            )
    return facts


async def _facts(connection: Connection, table: Name) -> _Facts:
    rows = (await connection.exec_driver_sql(blocks(*BLOCKS)["facts"], (identifier(table),))).all()
    if not rows:
        raise UsageError(f"There is no table {identifier(table)}.", "Name it with its schema: (schema, table).")
    return _Facts(*rows[0])


async def located(database: Database, rollup: Rollup) -> Rollup:
    """The rollup with every table's schema: the table's own for it, too, unless it names another."""
    async with database.transaction() as connection:
        facts = await _facts(connection, rollup.table)
        parent = rollup.parent
        if parent is not None:
            above = await _facts(connection, parent.table)
            parent = replace(parent, table=(above.schema, above.name))
    *schema, name = table_parts(rollup.name)
    where: Name = (*(schema or (facts.schema,)), name)
    indexes = tuple(index.on(where) for index in rollup.indexes)
    return replace(rollup, name=where, table=(facts.schema, facts.name), parent=parent, indexes=indexes)


async def _statements(connection: Connection, rollup: Rollup) -> Statements:
    facts = await _facts(connection, rollup.table)
    return Statements(rollup, {name: row[0] for name, row in (await _types(connection, rollup)).items()}, facts.major)


async def _types(connection: Connection, rollup: Rollup) -> dict[str, tuple[str, bool, bool]]:
    rows = (await connection.exec_driver_sql(blocks(*BLOCKS)["types"], (identifier(rollup.place),))).all()
    return {name: (kind, foreign, array) for name, kind, foreign, array in rows}


def check_types(statements: Statements, types: dict[str, tuple[str, bool, bool]]) -> None:
    """Refuse what would not stay exact, or what PostgreSQL's own schema cannot compare."""
    rollup = statements.rollup
    what = f"The rollup {rollup.qualified}"
    for (kind, of), name in rollup.stored.items():
        if kind == "sum" and types[name][0] not in EXACT:
            mend = 'Sum a cast of it, Expression("round(column::numeric, 6)"), or refresh a materialized view.'
            raise SchemaInvalid(what, reason=f"the sum of {of} is of type {types[name][0]}, and drifts", mend=mend)
        if kind in {"min", "max"} and types[name][1]:
            raise SchemaInvalid(what, reason=f"{of} is of an extension's type", mend="Measure a cast of it.")
    for name in rollup.keys:
        if types[name][1] or types[name][2]:
            mend = 'Group by a cast of it: by={"name": Expression("column::text")}.'
            raise SchemaInvalid(what, reason=f"the key {name!r} is an array or of an extension's type", mend=mend)


async def _parts(connection: Connection, rollup: Rollup) -> list[Name]:
    rows = (await connection.exec_driver_sql(blocks(*BLOCKS)["parts"], (identifier(rollup.table),))).all()
    return [tuple(row) for row in rows]


_TRIGGERED = "select exists (select from pg_trigger where tgrelid = to_regclass($1) and tgname = $2)"


async def _triggered(connection: Connection, rollup: Rollup, part: Name) -> bool:
    name = table_parts(rollup.beside("truncate"))[-1]
    return bool((await connection.exec_driver_sql(_TRIGGERED, (identifier(part), name))).all()[0][0])


def stored_indexes(rollup: Rollup) -> list[Index]:
    """Its indexes over the table of its groups, where each column goes by the name that it has there."""
    made = []
    for index in rollup.indexes:
        keys = []
        for key in index.keys:
            column = _column(rollup, index, key.of) if isinstance(key.of, str) else ""
            if not column:
                raise _unindexable(rollup, index)
            keys.append(replace(key, of=column))
        include = tuple(_column(rollup, index, name) for name in index.include)
        made.append(replace(index, table=rollup.place, columns=tuple(keys), include=include))
    return made


def _column(rollup: Rollup, index: Index, name: str) -> str:
    if name in rollup.keys:
        return name
    one = rollup.measures.get(name)
    if one is None or one.kind == "avg" or index.where is not None:
        raise _unindexable(rollup, index)
    return rollup.stored["rows" if not one.sql else one.kind, one.sql]


def _unindexable(rollup: Rollup, index: Index) -> SchemaInvalid:
    return SchemaInvalid(
        f"The index {index.name!r} of the rollup {rollup.qualified}",
        reason="it is not over its keys and stored measures alone",
        mend="An average, a column of the parent and an expression are not stored: index what they are made of.",
    )


def _another(rollup: Rollup, mark: str) -> DefinitionMismatch:
    return DefinitionMismatch("rollup", rollup.qualified, wanted=definition(rollup), found=mark or "made by hand")


async def _patiently(database: Database, work: Callable[[Connection], Awaitable[None]]) -> None:
    """Do it in a transaction, and again while a lock is not to be had at once."""
    for left in reversed(range(_LOCK_TRIES)):
        try:
            async with database.transaction(within=0) as connection:
                await work(connection)
                return
        except Exception as error:
            if _sqlstate(error) != _LOCK_REFUSED:
                raise
            if not left:
                raise LockBusy("the work of long transactions on the rollup's table") from error
        await asyncio.sleep(_LOCK_PAUSE_SECONDS)


def _sqlstate(error: BaseException | None) -> str:
    """PostgreSQL's code of an error, whichever error of ours or SQLAlchemy's stands around it."""
    while error is not None:
        state = getattr(getattr(error, "orig", None), "sqlstate", None) or getattr(error, "sqlstate", None)
        if state:
            return str(state)
        error = error.__cause__
    return ""
