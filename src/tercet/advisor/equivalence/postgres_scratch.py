"""The tables of a query made in an empty database, filled, emptied and filled again; nothing of it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from tercet.advisor.equivalence.edges.constants import every_constant, touched
from tercet.advisor.equivalence.edges.data import in_order, labels_of
from tercet.advisor.equivalence.statements import statement
from tercet.advisor.failure import timed_out, words
from tercet.sql import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.catalog import Catalog, Table
    from tercet.advisor.equivalence.edges.data import Row, Rows
    from tercet.sql.port import Connection
    from tercet.sql.tree import Tree

# A statement on a few hundred rows that takes longer multiplies what it should join; a busy machine is not that slow.
STATEMENT_SECONDS = 30
TOO_LONG = "it takes too long on a few hundred rows"
# A circle of foreign keys may need one round for each row that falls; more are cut off.
_ROUNDS_MAX = 20

_WAYS = ("enable_hashjoin", "enable_hashagg", "enable_mergejoin")


class Failed(Exception):
    """What cannot be made or asked in the empty database, in the server's words."""


class Scratch:
    """The tables that queries touch, in a transaction of an empty database that the caller rolls back."""

    def __init__(self, connection: Connection, catalog: Catalog, queries: Sequence[Tree]) -> None:
        self._connection, self._catalog, self._queries = connection, catalog, queries
        self._tables, self._views = touched(queries, catalog)
        self._named = 0

    async def make(self) -> None:
        """Make extensions, types, tables with their keys, and views. Raises Failed for what cannot be made."""
        await self._run("set local timezone = 'UTC'")
        for name in sorted(self._catalog.extensions - {"plpgsql"}):
            await self.tried(f"create extension if not exists {identifier(name)}")
        for schema in sorted({one.name[0] for one in self._tables} | {name[0] for name in self._views}):
            await self._run(f"create schema if not exists {identifier(schema)}")
        path = ", ".join(identifier(one) for one in (*self._catalog.search_path, "pg_catalog") if one != "$user")
        await self._run(f"set local search_path = {path}")
        for label in self._enumerations():
            await self._run(label)
        for table in in_order(self._tables):
            for made in _statements(table):
                await self._run(made)
        for view in self._views:
            body = self._catalog.views[view].rstrip("; \n")
            await self._run(f"create view {identifier(view)} as {body}")

    def _enumerations(self) -> Iterator[str]:
        words = every_constant(self._queries)
        made: dict[str, tuple[str, ...]] = {}
        for table in self._tables:
            for column in table.columns:
                labels = labels_of(column, words)
                if labels:
                    made[column.type] = tuple(dict.fromkeys((*made.get(column.type, ()), *labels)))
        for name, labels in made.items():
            yield f"create type {name} as enum ({', '.join(literal(one) for one in labels)})"

    async def plan(self, seed: int) -> None:
        """Let the planner take other ways from seed to seed, so that no order of rows is there by habit."""
        for number, way in enumerate(_WAYS):
            await self._run(f"set local {way} = {'off' if seed >> number & 1 else 'on'}")

    async def fill(self, data: Sequence[Rows]) -> None:
        """Insert rows; those that the server refuses are left out, and those that refer to nothing taken away."""
        for rows in data:
            if rows.rows and not await self.tried(insert(rows.table, rows.rows)):
                for row in rows.rows:
                    await self.tried(insert(rows.table, (row,)))
        await self._drop_dangling()

    async def _drop_dangling(self) -> None:
        kept = {one.name: one for one in self._tables}
        checks = [
            _dangling(table, key.columns, kept[key.target], key.target_columns)
            for table in self._tables
            for key in table.foreign_keys
            if key.target in kept
        ]
        for _ in range(_ROUNDS_MAX):
            if not any([await self._texts(one) for one in checks]):
                return

    async def empty(self) -> None:
        """Take all rows away."""
        for table in self._tables:
            await self._run(statement("empty", table=identifier(table.name)))

    async def parameters(self, query: str) -> tuple[str, ...]:
        """The types of $1, $2 … in a query, as the server works them out."""
        await self._run(f"prepare tercet_asked as {query}")
        found = await self._texts(statement("parameters"))
        await self._run("deallocate tercet_asked")
        return found

    async def columns(self, query: str) -> str | None:
        """Names and types of the columns that a statement answers; None where it answers two of one name."""
        point = await self._save()
        try:
            await self._run(f"create temporary view tercet_asked as {query}")
            (found,) = await self._texts(statement("columns"))
        except Failed:
            found = None
        await self._run(f"rollback to savepoint {point}")
        return found

    async def answer(self, asked: str) -> tuple[str, ...] | str:
        """The texts that a statement answers, or the server's words on why it does not, as a plain text."""
        point = await self._save()
        try:
            found = await self._texts(asked)
        except DBAPIError as error:
            await self._run(f"rollback to savepoint {point}")
            return TOO_LONG if timed_out(error) else words(error)
        await self._run(f"release savepoint {point}")
        return found

    async def tried(self, asked: str) -> bool:
        """Run a statement that may fail; whether it went well."""
        point = await self._save()
        try:
            await self._connection.exec_driver_sql(asked)
        except DBAPIError:
            await self._run(f"rollback to savepoint {point}")
            return False
        await self._run(f"release savepoint {point}")
        return True

    async def _save(self) -> str:
        self._named += 1
        await self._run(f"savepoint tercet_{self._named}")
        return f"tercet_{self._named}"

    async def _texts(self, asked: str) -> tuple[str, ...]:
        rows = (await self._connection.exec_driver_sql(asked)).all()
        return tuple("" if row[0] is None else str(row[0]) for row in rows)

    async def _run(self, asked: str) -> None:
        try:
            await self._connection.exec_driver_sql(asked)
        except DBAPIError as error:
            raise Failed(words(error)) from error


def _statements(table: Table) -> Iterator[str]:
    parts = []
    for column in table.columns:
        collation = f" collate {identifier(column.collation)}" if column.collation not in {None, "default"} else ""
        parts.append(f"{identifier(column.name)} {column.type}{collation}{' not null' if column.not_null else ''}")
    if table.primary_key:
        parts.append(f"primary key ({', '.join(identifier(one) for one in table.primary_key)})")
    yield f"create table {identifier(table.name)} ({', '.join(parts)})"
    for standing in table.indexes:
        if standing.index.unique and standing.valid and standing.constraint != "p":
            yield standing.index.on(table.name).create(concurrently=False)


def _dangling(table: Table, columns: Sequence[str], target: Table, theirs: Sequence[str]) -> str:
    filled = " and ".join(f"c.{identifier(one)} is not null" for one in columns)
    same = " and ".join(
        f"p.{identifier(there)} = c.{identifier(here)}" for here, there in zip(columns, theirs, strict=True)
    )
    return statement("dangling", table=identifier(table.name), target=identifier(target.name), filled=filled, same=same)


def insert(table: Table, rows: Sequence[Row]) -> str:
    """The INSERT of some rows; one that breaks a key is left out."""
    names = ", ".join(identifier(column.name) for column in table.columns)
    values = ", ".join(f"({', '.join(map(_value, row))})" for row in rows)
    return statement("insert", table=identifier(table.name), columns=names, values=values)


def _value(value: str | None) -> str:
    return "null" if value is None else literal(value)
