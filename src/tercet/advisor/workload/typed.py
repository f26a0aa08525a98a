"""The types of a statement's parameters, asked of the server by PREPARE, and values for them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.marked import marked
from tercet.advisor.workload.classes import examples
from tercet.advisor.workload.literals import askable, parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.query import Query, Workload
    from tercet.sql.port import Connection, Database

# PREPARE parses and looks names up; it neither plans nor runs. A lock that is held against it is not waited for long.
_WITHIN = "5s"
_LIMITS = "set local transaction read only", "set local lock_timeout = '1s'"
_TYPES = "select array_to_string(p.parameter_types, '|') from pg_prepared_statements p where p.name = $1"
_NAME = "tercet_types"


async def with_values(database: Database, workload: Workload, catalog: Catalog) -> Workload:
    """The workload with values in place of $1, $2 … wherever the statistics or the types give some.

    Only statements that read are prepared; of the others the columns alone tell the types, for the server would
    lock their tables. `database` may be any with the same tables. Values that the server refuses are not in what
    comes out of a PREPARE; those statements stay generic.
    """
    found = []
    for query in workload.queries:
        if not any(parameters(one.sql) for one in query.examples):
            found.append(query)
            continue
        types = await parameter_types(database, query) if query.reading else {}
        made = replace(query, examples=examples(query, catalog, types))
        if query.reading and not types and any(one.origin == "generic" for one in made.examples):
            made = await _guessed(database, query, catalog) or made
        found.append(made)
    return replace(workload, queries=tuple(found))


async def _guessed(database: Database, query: Query, catalog: Catalog) -> Query | None:
    """The query with a number wherever nothing is known of a place ("then $1 else $2"), if the server takes it so."""
    made = replace(query, examples=examples(query, catalog, otherwise="1"))
    taken = [await _types(database, one.sql, query.search_path) is not None for one in made.examples]
    return made if all(taken) else None


async def parameter_types(database: Database, query: Query) -> Mapping[int, str]:
    """The types of $1, $2 … by their numbers, as the server understands them; none for what it refuses."""
    sql = askable(next(one.sql for one in query.examples if parameters(one.sql)))
    return await _types(database, sql, query.search_path) or {}


async def _types(database: Database, sql: str, search_path: tuple[str, ...]) -> Mapping[int, str] | None:
    """The types of a text's parameters; None if the server refuses it."""
    try:
        async with marked(database).transaction(within=_WITHIN) as connection:
            for limit in _LIMITS:
                await connection.exec_driver_sql(limit)
            if search_path:
                path = ", ".join('"' + name.replace('"', '""') + '"' for name in search_path)
                await connection.exec_driver_sql(f"set local search_path = {path}")
            return await _prepared(connection, sql)
    except Exception as error:
        if not _refused(error):
            raise
        return None


async def _prepared(connection: Connection, sql: str) -> dict[int, str]:
    await connection.exec_driver_sql(f"prepare {_NAME} as {sql}")
    try:
        rows = (await connection.exec_driver_sql(_TYPES, (_NAME,))).all()
    finally:
        # It outlives the transaction; a connection that is gone has taken it along.
        with suppress(Exception):
            await connection.exec_driver_sql(f"deallocate {_NAME}")
    told = rows[0][0] if rows else ""
    return {number: name for number, name in enumerate(told.split("|"), 1) if name and name != "unknown"}


def _refused(error: Exception) -> bool:
    """Whether the server has understood, and does not take the statement; a lost connection is another matter."""
    cause: BaseException | None = error
    while cause is not None:
        state = str(getattr(cause, "sqlstate", "") or "")
        if state[:2] in {"42", "22", "0A", "25", "55"}:
            return True
        cause = cause.__cause__
    return False
