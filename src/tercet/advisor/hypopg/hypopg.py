"""Plans with indexes that HypoPG supposes, on the database itself, for one connection only."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import words
from tercet.advisor.hypopg.descent import corrected
from tercet.advisor.hypopg.postgres_refusals import REFUSALS
from tercet.advisor.marked import marked
from tercet.advisor.port import Costed, EngineKind, Refused, Supposed
from tercet.advisor.shadow.sizes import size
from tercet.errors import CommandRefused
from tercet.sql import Plan, identifier
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.sql import Index, View
    from tercet.sql.port import Connection, Database

# Planning one statement takes milliseconds; one that joins twenty tables some hundred.
_STATEMENT_MS = 10_000
# EXPLAIN takes AccessShare locks: who holds against them is to be let pass.
_LOCK_MS = 1_000
# Before it, indexes that are there cannot be hidden.
_HIDES_FROM = (1, 4)

_SQL = blocks("tercet.advisor.hypopg", "hypopg.sql")
_PARAMETER = re.compile(r"\$(\d+)")
_SETTINGS = {
    "statement_timeout": str(_STATEMENT_MS),
    "lock_timeout": str(_LOCK_MS),
    "default_transaction_read_only": "on",
    "plan_cache_mode": "force_generic_plan",
}


async def hypopg(database: Database, catalog: Catalog) -> Hypopg:
    """An engine on this database. Raises CommandRefused where the extension is not installed."""
    stack = AsyncExitStack()
    connection = await stack.enter_async_context(marked(database).autocommit())
    try:
        found = (await connection.exec_driver_sql(_SQL["there"])).all()
        engine = Hypopg(connection, stack, catalog, version=_version(found))
        await engine.tune({})
    except BaseException:
        await stack.aclose()
        raise
    return engine


def _version(found: Sequence[Sequence[object]]) -> str:
    if not found:
        reason = "it has no extension hypopg; CREATE EXTENSION hypopg makes it, or take the shadow engine"
        raise CommandRefused("PostgreSQL", code="undefined_object", reason=reason)
    return str(found[0][0])


class Hypopg:
    """Fulfils WhatIf. Supposed indexes live in one connection and are seen by nobody else; nothing is written."""

    kind: EngineKind = "hypopg"

    def __init__(self, connection: Connection, stack: AsyncExitStack, catalog: Catalog, *, version: str) -> None:
        self.why = f"The database has the extension hypopg {version}: it plans there, with indexes nobody else sees."
        self._connection = connection
        self._stack = stack
        self._catalog = catalog
        self._hides = tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= _HIDES_FROM
        self._known: dict[str, Index] = {}
        self._answers: dict[str, Supposed | Refused] = {}
        # The names that HypoPG gives, and its numbers, of those that are there now.
        self._made: dict[str, tuple[int, str]] = {}
        self._hidden: frozenset[str] = frozenset()
        self._set: dict[str, str] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def suppose(self, indexes: Sequence[Index]) -> Mapping[str, Supposed | Refused]:
        """Try each once, and tell how large it would really be: HypoPG's own sizes know nothing of shared entries."""
        for index in indexes:
            if index.name not in self._answers:
                self._known[index.name] = index
                self._answers[index.name] = await self._supposed(index)
        return {index.name: self._answers[index.name] for index in indexes}

    async def suppose_view(self, view: View, *, rows: float) -> Supposed | Refused:
        """HypoPG knows no views."""
        return Refused(view.qualified, f"HypoPG cannot suppose a view, not even of {rows:g} rows; the shadow can.")

    async def cost(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Costed | Refused:
        """The cost with the descents that HypoPG leaves out."""
        plan = await self.plan(sql, using=using, hiding=hiding, search_path=search_path)
        return plan if isinstance(plan, Refused) else Costed(plan.root.cost, frozenset(plan.indexes))

    async def plan(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Plan | Refused:
        """The plan, its indexes called by the names they were supposed with."""
        try:
            await self._switch(frozenset(using), frozenset(hiding))
            async with self._under(search_path):
                found = Plan.read((await self._explained(sql))[0][0])
        except REFUSALS as error:
            return Refused(sql, words(error))
        except _Unable as error:
            return Refused(sql, str(error))
        names = {theirs: ours for ours, (_, theirs) in self._made.items()}
        heights = {name: answer.height or 0 for name, answer in self._answers.items() if isinstance(answer, Supposed)}
        operator = float(self._catalog.settings.get("cpu_operator_cost", "0.0025"))
        return replace(found, root=corrected(found.root, names, heights, operator))

    async def tune(self, settings: Mapping[str, str]) -> None:
        """Plan with these settings from now on."""
        for name in self._set.keys() - settings.keys() - _SETTINGS.keys():
            await self._connection.exec_driver_sql(f"reset {name}")
        self._set = {**_SETTINGS, **settings}
        for name, value in self._set.items():
            await self._connection.exec_driver_sql("select set_config($1, $2, false)", (name, value))

    async def close(self) -> None:
        """Forget all indexes and give the connection back as it was; twice is fine."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._connection.exec_driver_sql(_SQL["reset"])
            if self._hidden:
                await self._connection.exec_driver_sql(_SQL["unhide"])
            for name in self._set:
                await self._connection.exec_driver_sql(f"reset {name}")
        finally:
            await self._stack.aclose()

    async def _supposed(self, index: Index) -> Supposed | Refused:
        *schema, name = table_parts(index.table)
        table = self._catalog.find(name, schema[0] if schema else None)
        if table is None:
            return Refused(index.name, f"There is no table {index.qualified_table}.")
        try:
            await self._make(index.name)
        except REFUSALS as error:
            return Refused(index.name, words(error))
        shared = all(
            (column := table.column(key.of)) is not None and not column.type.startswith(_UNSHARED)
            for key in index.keys
            if isinstance(key.of, str)
        )
        found = size(table, index, max(table.rows, 0.0), shared=shared)
        return Supposed(index.name, found.size_bytes, found.height, found.tuples)

    async def _make(self, name: str) -> None:
        statement = self._known[name].create(concurrently=False).replace("'", "''")
        made = await self._connection.exec_driver_sql(_SQL["create"].format(statement=statement))
        number, theirs = made.all()[0]
        self._made[name] = int(number), str(theirs)

    async def _switch(self, using: frozenset[str], hiding: frozenset[str]) -> None:
        for name in sorted(self._made.keys() - using):
            number, _ = self._made.pop(name)
            await self._connection.exec_driver_sql(_SQL["drop"].format(oid=number))
        for name in sorted(using - self._made.keys()):
            await self._make(name)
        if hiding == self._hidden:
            return
        if not self._hides:
            raise _Unable("This HypoPG cannot hide indexes that are there; version 1.4 can.")
        await self._connection.exec_driver_sql(_SQL["unhide"])
        for name in sorted(hiding):
            await self._connection.exec_driver_sql(_SQL["hide"].format(name=name.replace("'", "''")))
        self._hidden = hiding

    @asynccontextmanager
    async def _under(self, search_path: Sequence[str]) -> AsyncIterator[None]:
        """Names mean what they mean under this search_path, as long as it takes: HypoPG's own are not in it."""
        if not search_path:
            yield
            return
        path = ", ".join(identifier(schema) for schema in search_path)
        await self._connection.exec_driver_sql(f"set search_path = {path}")
        try:
            yield
        finally:
            await self._connection.exec_driver_sql("reset search_path")

    async def _explained(self, sql: str) -> Sequence[Sequence[object]]:
        numbers = [int(number) for number in _PARAMETER.findall(sql)]
        if not numbers:
            return (await self._connection.exec_driver_sql(_SQL["explain"].replace("{sql}", sql))).all()
        await self._connection.exec_driver_sql(_SQL["prepare"].replace("{sql}", sql))
        try:
            values = f"({', '.join(['null'] * max(numbers))})"
            return (await self._connection.exec_driver_sql(_SQL["execute"].format(values=values))).all()
        finally:
            await self._connection.exec_driver_sql(_SQL["forget"])


class _Unable(Exception):
    """What this version of the extension cannot do."""


# Types whose equal values may look different on the disk, or did before PostgreSQL 16: their entries stay apart.
_UNSHARED = ("numeric", "real", "double precision", "jsonb", "character(")
