"""Production's schema read as statements, and made anew in the copy as far as that is possible there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import sqlstate, words
from tercet.sql import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tercet.advisor.catalog import Qualified
    from tercet.sql.port import Connection, Database

# What stands before the rows, and what comes after them: a key that is checked once is cheaper than a million times.
_BEFORE = ("schemas", "extensions", "types", "functions", "sequences", "tables", "families", "tuning", "views")
_AFTER = ("keys", "indexes", "references", "counters")
_OF_TABLES = frozenset({"tables", "families", "tuning", "keys", "indexes", "references", "counters"})

# How a note shows a statement that could not be repeated.
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Target:
    """A table that rows are poured into; a partitioned one has none itself."""

    oid: int
    name: Qualified
    kind: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """What makes a database like this one: statements before the rows, statements after them."""

    database: Mapping[str, str | None]
    before: tuple[str, ...]
    after: tuple[str, ...]
    targets: tuple[Target, ...]


async def read_schema(connection: Connection, oids: Sequence[int]) -> Schema:
    """The schema around these tables, by the catalogs alone."""
    sql = blocks("tercet.advisor.sandbox", "schema.sql")

    async def texts(names: Iterable[str]) -> tuple[str, ...]:
        found: list[str] = []
        for name in names:
            given = ((list(oids),),) if name in _OF_TABLES else ()
            found += [row[0] for row in (await connection.exec_driver_sql(sql[name], *given)).all() if row[0]]
        return tuple(found)

    rows = (await connection.exec_driver_sql(sql["columns"], (list(oids),))).all()
    targets = tuple(Target(row[0], (row[1], row[2]), row[3], tuple(row[4])) for row in rows)
    (told,) = await texts(("database",))
    return Schema(json.loads(told), await texts(_BEFORE), await texts(_AFTER), targets)


async def repeat(database: Database, statements: Iterable[str]) -> tuple[str, ...]:
    """Run the statements in an order in which they work; what works in none is told, in the server's words.

    A view may stand before the view that it reads, a function before the table it speaks of: what fails is tried
    again after the others, until a round brings nothing more.
    """
    waiting = list(statements)
    async with database.autocommit() as connection:
        await connection.exec_driver_sql("set check_function_bodies = off")
        while waiting:
            failed: list[tuple[str, str]] = []
            for statement in waiting:
                reason = await attempt(connection, statement)
                if reason is not None:
                    failed.append((statement, reason))
            if len(failed) == len(waiting):
                return tuple(f"Not in the copy: {_short(statement)} ({reason})." for statement, reason in failed)
            waiting = [statement for statement, _ in failed]
    return ()


async def attempt(connection: Connection, statement: str) -> str | None:
    """Run a statement; what the server has against it, or None."""
    try:
        await connection.exec_driver_sql(statement)
    except Exception as error:
        if not sqlstate(error):
            raise
        return words(error)
    return None


def create_database(name: str, told: Mapping[str, str | None]) -> str:
    """The statement that makes a database which sorts and folds as production's does."""
    provider = told["provider"]
    options = [
        f"encoding {literal(told['encoding'] or '')}",
        f"lc_collate {literal(told['collate'] or '')}",
        f"lc_ctype {literal(told['ctype'] or '')}",
    ]
    if provider == "i":
        options += ["locale_provider icu", f"icu_locale {literal(told['locale'] or '')}"]
    elif provider == "b":
        options += ["locale_provider builtin", f"builtin_locale {literal(told['locale'] or '')}"]
    return f"create database {identifier(name)} template template0 {' '.join(options)}"


def settings_of(name: str, settings: Mapping[str, str], search_path: Sequence[str]) -> tuple[str, ...]:
    """The statements that give a database production's settings."""
    path = ", ".join(identifier(schema) for schema in search_path)
    wanted = [f"{identifier(setting)} = {literal(value)}" for setting, value in settings.items()]
    if path:
        wanted.append(f"search_path = {path}")
    return tuple(f"alter database {identifier(name)} set {one}" for one in wanted)


def _short(statement: str) -> str:
    line = " ".join(statement.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
