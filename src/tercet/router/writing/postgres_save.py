"""The part of a save that PostgreSQL commits: the row, its lock, and the version that the lock makes certain."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from tercet.errors import EntityMissing, ExtraMissing, UsageError

try:
    from sqlalchemy import insert, select, text, update
except ImportError as error:
    raise ExtraMissing("Saving an entity", module="sqlalchemy", extra="postgres") from error

if TYPE_CHECKING:
    from tercet.router.edit import Edit
    from tercet.router.plan import Source
    from tercet.router.port import Session
    from tercet.router.source import InTable


# How far the log has been written, as a number: whoever holds a row's lock sees it grow from holder to holder. A
# transaction's id would not do: one with a smaller id can commit a row after one with a greater id.
VERSION = text("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")

# The same, and the log has grown by it: two saves of one transaction, which holds the lock already, may have written
# nothing else in between. A message that nobody listens to costs the log less than a row.
NEXT_VERSION = text("SELECT pg_wal_lsn_diff(pg_logical_emit_message(true, 'tercet:version', ''), '0/0')::bigint")


async def save_rows(session: Session, edit: Edit, *, whole: bool) -> int:
    """Write the edit's columns and lock the row; the version of this save.

    `whole` inserts a row that is not there; otherwise that is an EntityMissing.
    """
    anchor = edit.plan.anchor
    if anchor is None:
        raise UsageError(
            f"{edit.plan.entity} has no field in PostgreSQL, so no commit could carry its save.",
            "Write to its stores directly, or give it a field with postgres(…).",
        )
    written = False
    for source in edit.plan.sources:
        if source.store == "postgres":
            written |= await _write(session, source, edit, whole=whole)
    if not written:
        key = cast("InTable", anchor.declared).key
        locked = await session.execute(select(key).where(key == edit.key).with_for_update(key_share=True))
        if locked.first() is None:
            raise _missing(anchor, edit)
    version = await session.execute(NEXT_VERSION)
    return int(version.scalar_one())


async def _write(session: Session, source: Source, edit: Edit, *, whole: bool) -> bool:
    columns = {
        cast("InTable", field.declared).column: _column_value(edit.values[field.name])
        for field in source.fields
        if field.name in edit.values
    }
    if not columns:
        return False
    key = cast("InTable", source.declared).key
    done = await session.execute(update(key.table).where(key == edit.key).values(columns))
    if done.rowcount == 0:
        if not whole:
            raise _missing(source, edit)
        await session.execute(insert(key.table).values({**columns, key: edit.key}))
    return True


def _column_value(value: object) -> object:
    """A Struct goes into a column of JSON as what it consists of."""
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value


def _missing(source: Source, edit: Edit) -> EntityMissing:
    return EntityMissing("postgres", entity=edit.plan.entity, source=source.name, key=edit.key)
