"""What a server has, asked in five questions that change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tercet.changes.setup.findings import (
    Column,
    Findings,
    Form,
    Identity,
    Place,
    Publication,
    Published,
    Server,
    Slot,
    Table,
    place_of,
)
from tercet.changes.setup.written import written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tercet.changes.change import Wants
    from tercet.sql.port import Connection, Database

_SQL = "setup/setup.sql"

_IDENTITIES: Mapping[str, Identity] = {"d": "default", "f": "full", "i": "index", "n": "nothing"}
_FORMS: Mapping[str, Form] = {"r": "table", "p": "partitioned", "f": "foreign", "v": "view", "m": "view"}

# What the first question answers, in its order.
_SERVER = (
    "version", "number", "replica", "wal_level", "slots_max", "slots", "senders_max", "senders", "keep_bytes",
    "login", "database", "superuser", "replication", "may_create", "change_table",
)  # fmt: skip

# Statements after which a pooler that shares connections between transactions has probably shown itself. That all
# come from one backend proves nothing, for a pooler with little to do hands out the same one.
_PROBES = 4


async def look(database: Database, wants: Wants, *, pooled: bool = False) -> Findings:
    """What there is for a feed with these wants; `pooled` says that a pooler is known to be in between.

    Tables that are wanted and not there are missing from the findings; `plan` and `gaps` say so. Raises a StoreError.
    """
    sql = written(_SQL)
    async with database.autocommit() as connection:
        pooled = pooled or await _shared(connection)
        server = await _rows(connection, sql["server"])
        slots = await _rows(connection, sql["slots"])
        publications = await _rows(connection, sql["publications"])
        published = await _rows(connection, sql["published"])
        everything = "*" in wants.tables
        places = [place_of(name) for name in wants.tables if name != "*"]
        named = ([schema for schema, _ in places], [name for _, name in places])
        tables = await _rows(connection, sql["tables"], (everything, *named))
    trees = _tables(tables)
    return Findings(
        server=_server(server[0], pooled=pooled),
        slots=tuple(_slot(row) for row in slots),
        publications=tuple(_publication(row, published, trees) for row in publications),
        tables={table.place: table for table in trees},
    )


async def _shared(connection: Connection) -> bool:
    """Whether the statements of one connection were seen to run on several backends."""
    seen = {(await _rows(connection, written(_SQL)["backend"]))[0][0] for _ in range(_PROBES)}
    return len(seen) > 1


async def _rows(connection: Connection, statement: str, values: tuple[Any, ...] = ()) -> Sequence[Any]:
    return (await connection.exec_driver_sql(statement, values)).all()


def _server(row: Sequence[Any], *, pooled: bool) -> Server:
    fields = dict(zip(_SERVER, row, strict=True))
    keep = fields["keep_bytes"]
    fields["keep_bytes"] = keep if keep is not None and keep >= 0 else None
    return Server(**fields, pooled=pooled)


def _slot(row: Sequence[Any]) -> Slot:
    name, plugin, temporary, active, wal_status, here, lag, kept, safe = row
    return Slot(name, plugin or "", temporary, active, wal_status, bool(here), lag, kept, safe)


def _publication(row: Sequence[Any], published: Iterable[Sequence[Any]], tables: Sequence[Table]) -> Publication:
    every = {table.place: table for root in tables for table in (root, *root.leaves)}
    has: dict[Place, Published] = {}
    for name, schema, table, columns, condition in published:
        if name == row[0]:
            known = every.get((schema, table))
            # A list of all columns is as good as none, and the server does not tell the two apart.
            listed = tuple(columns) if columns and (known is None or set(columns) < known.plain_columns) else None
            has[schema, table] = Published(listed, condition)
    name, all_tables, insert, update, delete, truncate, via_root, ours = row
    return Publication(name, all_tables, insert, update, delete, truncate, via_root, ours, has)


def _tables(rows: Sequence[Sequence[Any]]) -> tuple[Table, ...]:
    leaves: dict[int, list[Table]] = {}
    for row in rows:
        if row[0] != row[1]:
            leaves.setdefault(row[1], []).append(_table(row, ()))
    return tuple(_table(row, leaves.get(row[0], ())) for row in rows if row[0] == row[1])


def _table(row: Sequence[Any], leaves: Sequence[Table]) -> Table:
    _, _, schema, name, kind, persistence, identity, primary, deferrable, index, indexed, *rest = row
    names, filled, generated, triggers, arguments = rest
    form = _FORMS[kind]
    if form in {"table", "partitioned"}:
        form = {"u": "unlogged", "t": "temporary"}.get(persistence, form)  # type: ignore[assignment] # both are forms
    columns = zip(names or (), filled or (), generated or (), strict=True)
    return Table(
        place=(schema, name),
        form=form,
        columns={column: Column(not_null, computed) for column, not_null, computed in columns},
        identity=_IDENTITIES[identity],
        primary=tuple(primary),
        deferrable=deferrable,
        index=index,
        index_columns=tuple(indexed),
        triggers=tuple(triggers),
        silent=_silent(arguments),
        leaves=tuple(leaves),
    )


def _silent(arguments: str | None) -> tuple[str, ...]:
    """The columns that a trigger does not tell: all of its arguments but the first two, each ended by a zero byte."""
    if not arguments:
        return ()
    return tuple(one.decode(errors="replace") for one in bytes.fromhex(arguments).split(b"\0")[2:-1])
