"""What a shadow is made of, read from production: its schema, its sizes and its statistics, and nothing else."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from tercet.advisor.blocks import blocks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor.port import Progress
    from tercet.sql.port import Connection, Database

# A look at the catalogue of 1,000 tables takes a second; one that takes longer than this does harm.
STATEMENT_SECONDS = 20.0
# The catalogue is read without waiting for anybody: a table that is being rebuilt is not worth a queue behind us.
LOCK_SECONDS = 2.0


class Name(msgspec.Struct, frozen=True, array_like=True):
    """A schema and what is in it."""

    schema: str
    name: str


class About(msgspec.Struct, frozen=True):
    """The server and the database: what a cluster has to be made like."""

    version: int
    block_size: int
    encoding: str
    collate: str
    ctype: str
    provider: str
    locale: str | None
    search_path: tuple[str, ...]
    tablespace_costs: bool = False

    @property
    def major(self) -> int:
        """18 of 180006."""
        return self.version // 10_000


class Made(msgspec.Struct, frozen=True):
    """Something that one statement makes."""

    what: str
    ddl: str


class Column(msgspec.Struct, frozen=True):
    """A column of a relation."""

    name: str
    number: int
    type: str
    not_null: bool
    collation: Name | None = None
    virtual: str | None = None


class Relation(msgspec.Struct, frozen=True):
    """A table, a partitioned table or a materialized view, and how long its file is right now."""

    oid: int
    schema: str
    name: str
    kind: str
    blocks: int
    pages: int
    rows: float
    visible: int
    partition_key: str | None = None
    bound: str | None = None
    parents: tuple[Name, ...] | None = None
    options: tuple[str, ...] | None = None
    row_security: bool = False
    columns: tuple[Column, ...] | None = None


class Standing(msgspec.Struct, frozen=True):
    """An index that is there, and how long its file is right now."""

    oid: int
    schema: str
    name: str
    table: str
    method: str
    ddl: str
    primary: bool
    unique: bool
    deferrable: bool
    partitioned: bool
    blocks: int
    pages: int
    rows: float
    constraint: str | None = None
    constraint_ddl: str | None = None
    parent: Name | None = None
    # Its first column, where the planner may look for that column's ends in it.
    leading: str | None = None


class Extended(msgspec.Struct, frozen=True):
    """What is known of several columns together."""

    schema: str
    name: str
    inherited: bool
    table_schema: str
    table: str
    distinct: str | None = None
    dependencies: str | None = None
    # Whether it holds frequent combinations, too.
    common: bool = False


@dataclass(frozen=True, slots=True)
class Dump:
    """All that was read; `statistics` is handed on as it came."""

    about: About
    settings: dict[str, str]
    objects: tuple[Made, ...]
    relations: tuple[Relation, ...]
    indexes: tuple[Standing, ...]
    rules: tuple[Made, ...]
    left_out: tuple[str, ...]
    statistics: str = field(repr=False)
    extended: tuple[Extended, ...]
    read_bytes: int = 0
    read_seconds: float = 0.0


def statements() -> Mapping[str, str]:
    """What is asked of production."""
    return blocks("tercet.advisor.shadow.taken", "dump.sql")


@dataclass(slots=True)
class _Reader:
    connection: Connection
    statements: Mapping[str, str]
    taken: int = 0

    async def text(self, name: str) -> str:
        """The JSON text of one block."""
        rows = (await self.connection.exec_driver_sql(self.statements[name])).all()
        text: str = rows[0][0] or "{}"
        self.taken += len(text)
        return text

    async def read(self, name: str, kind: type[Any]) -> Any:
        return msgspec.json.decode(await self.text(name), type=kind)


async def read_about(database: Database) -> About:
    """Which server it is: enough to begin making a cluster like it."""
    async with database.transaction(within=STATEMENT_SECONDS) as connection:
        await connection.exec_driver_sql("set transaction read only")
        about: About = await _Reader(connection, statements()).read("about", About)
    return about


async def read_dump(database: Database, on_progress: Progress | None = None) -> Dump:
    """Read it all in one transaction that only reads, under limits of time; no row of a table is looked at."""
    began = time.perf_counter()
    tell = on_progress or (lambda _what, _done, _all: None)
    async with database.transaction(within=STATEMENT_SECONDS) as connection:
        await connection.exec_driver_sql("set transaction isolation level repeatable read, read only")
        reader = _Reader(connection, statements())
        await connection.exec_driver_sql(
            reader.statements["limits"],
            (f"{STATEMENT_SECONDS * 1000:.0f}", f"{LOCK_SECONDS * 1000:.0f}"),
        )
        tell("reading the schema", 0, 0)
        about = await reader.read("about", About)
        settings = await reader.read("settings", dict[str, str])
        await connection.exec_driver_sql(reader.statements["unqualified"])
        dump = Dump(
            about=about,
            settings=settings,
            objects=await reader.read("objects", tuple[Made, ...]),
            relations=await reader.read("relations", tuple[Relation, ...]),
            indexes=await reader.read("indexes", tuple[Standing, ...]),
            rules=await reader.read("rules", tuple[Made, ...]),
            left_out=await reader.read("left_out", tuple[str, ...]),
            statistics=await reader.text("statistics"),
            extended=await reader.read("extended", tuple[Extended, ...]),
        )
    return replace(dump, read_bytes=reader.taken, read_seconds=time.perf_counter() - began)
