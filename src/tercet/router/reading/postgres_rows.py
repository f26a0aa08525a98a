"""Rows of PostgreSQL by their keys: one statement a table, whatever the number of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tercet.errors import ExtraMissing, FieldMismatch, StoreError

try:
    from sqlalchemy import BigInteger, Integer, any_, bindparam, select
    from sqlalchemy.dialects.postgresql import ARRAY
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as error:
    raise ExtraMissing("An entity with postgres(…)", module="sqlalchemy", extra="postgres") from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.router.key import Key
    from tercet.router.plan import Source
    from tercet.router.port import Found, Postgres
    from tercet.router.source import InTable

# How many rows beyond one a key are read before a column that should find one row is taken not to.
SPARE_ROWS = 1_000


class PostgresRows:
    """Reads the columns of a table, found by `key = ANY(array)`: the same statement for one key and for thousands."""

    faults: tuple[type[Exception], ...] = (StoreError, SQLAlchemyError, OSError)

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self._statements: dict[Source, Any] = {}

    async def read(self, source: Source, keys: Mapping[Key, Key]) -> Mapping[Key, Found]:
        """The row of each key that has one."""
        statement = self._statements.get(source)
        if statement is None:
            statement = self._statements[source] = rows_of(source)
        most = len(keys) + SPARE_ROWS
        async with self._database.connection() as plain:
            # One statement sees one snapshot by itself; BEGIN and ROLLBACK would be two more round trips.
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            rows = (await connection.execute(statement, {"keys": list(keys.values()), "most": most})).all()
        return _by_key(source, rows, most)


def rows_of(source: Source) -> Any:
    """The statement that reads this source, with the parameters `keys` and, where keys may be shared, `most`."""
    declared = cast("InTable", source.declared)
    key = declared.key
    columns = [cast("InTable", field.declared).column for field in source.fields]
    # A number that an integer column cannot hold is in no row; as a bigint it can be asked for all the same.
    kind = BigInteger() if isinstance(key.type, Integer) else key.type
    wanted = bindparam("keys", type_=ARRAY(kind), unique=False)
    # Labels, for a column may be taken twice and a name may be "keys".
    taken = [key.label("k"), *(column.label(f"c{at}") for at, column in enumerate(columns))]
    statement = select(*taken).where(key == any_(wanted))
    if not _is_unique(key):
        return statement.limit(bindparam("most", type_=BigInteger))
    return statement


def _is_unique(key: Any) -> bool:
    return bool(key.unique) or [one.name for one in key.table.primary_key.columns] == [key.name]


def _by_key(source: Source, rows: list[Any], most: int) -> dict[Key, Found]:
    if len(rows) >= most:
        raise _shared(source)
    found: dict[Key, Found] = {row[0]: tuple(row)[1:] for row in rows}
    if len(found) < len(rows):
        seen: set[Key] = set()
        for row in rows:
            if row[0] in seen:
                found[row[0]] = _shared(source)
            seen.add(row[0])
    return found


def _shared(source: Source) -> FieldMismatch:
    return FieldMismatch(
        "postgres", field=source.fields[0].label, source=source.name, reason="several rows have the same key"
    )
