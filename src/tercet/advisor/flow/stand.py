"""Where statements are run: a copy with the tables that something is to be proved for, or a database that is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor import scope
from tercet.advisor.allowance import Allowance
from tercet.advisor.candidates import doubles
from tercet.advisor.catalog import ForeignKey
from tercet.advisor.failure import sqlstate, words
from tercet.advisor.sandbox import copy
from tercet.advisor.verify.port import Live
from tercet.errors import DeadlinePassed, SqlInvalid, TercetError
from tercet.sql.identifier import table_parts
from tercet.sql.tree import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tercet.advisor.catalog import Catalog, Qualified
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.query import Query
    from tercet.advisor.sandbox import Sandbox
    from tercet.advisor.verify.port import Place
    from tercet.sql import Index
    from tercet.sql.port import Database

# Whether values are all different is asked of a whole table; where others work, no longer than this.
_LOOK_SECONDS = 10.0


class Stand:
    """The copy is made when something is first to be run, and made anew where more tables are needed."""

    def __init__(self, database: Database, replica: Database | None, catalog: Catalog, wishes: Wishes) -> None:
        self._database, self._replica = database, replica
        self._catalog, self._wishes = catalog, wishes
        self._sandbox: Sandbox | None = None
        self._tables: frozenset[Qualified] = frozenset()
        # For all that is run, whoever asks for it.
        self.allowance = Allowance(wishes.running_seconds)
        # What all copies took from production.
        self.bytes, self.seconds = 0, 0.0
        self.notes: list[str] = []

    @property
    def builds(self) -> bool:
        """Whether indexes and views can be made there."""
        return self._wishes.runs

    @property
    def sampled(self) -> bool:
        """Whether the copy holds a part of the rows only."""
        return self._sandbox is not None and self._sandbox.sampled

    async def place(self, drafts: Iterable[Draft], *, needs: Iterable[str] = ()) -> Place:
        """Where these can be run; `needs` are statements by which a copy gets extensions that production lacks."""
        if not self.builds:
            if self._wishes.verify == "replica" and self._replica is not None:
                return Live(self._replica, "replica")
            return Live(self._database, "production")
        drafts = list(drafts)
        tables = frozenset().union(*(tables_of(draft.query, self._catalog) for draft in drafts))
        if self._sandbox is None or not tables <= self._tables:
            await self._in_time(tables, drafts)
        sandbox = self._sandbox
        assert sandbox is not None  # noqa: S101 - it was made above
        await self._given(sandbox, needs)
        return sandbox

    def scale(self, index: Index) -> float:
        """How many times more rows production has in the table of an index."""
        table = table_of(index, self._catalog)
        return self._sandbox.scale(table) if self._sandbox is not None and table is not None else 1.0

    def scale_of(self, tables: Iterable[Qualified]) -> float:
        """The same for the table of which most was left out."""
        return max((self._sandbox.scale(one) for one in tables), default=1.0) if self._sandbox is not None else 1.0

    async def all_different(self, index: Index, place: Place) -> bool:
        """Whether the table could have this unique index now, as far as all its rows can be looked at."""
        table = table_of(index, self._catalog)
        if table is None or not self.allowance.left or (self._sandbox is not None and self._sandbox.scale(table) > 1.0):
            return False
        try:
            async with place.transaction(within=min(_LOOK_SECONDS, self.allowance.left)) as connection:
                await connection.exec_driver_sql("set transaction read only")
                return not (await connection.exec_driver_sql(doubles(index))).all()
        except Exception as error:
            if not sqlstate(error) and not isinstance(error, TercetError):
                raise
            return False

    async def close(self) -> None:
        """Take the copy away, if one was made."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            await sandbox.close()

    async def _in_time(self, tables: frozenset[Qualified], drafts: Iterable[Draft]) -> None:
        limit = self.allowance.limit()
        try:
            async with limit:
                await self._copied(tables, drafts)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlinePassed("postgres", what="a copy to run it on", deadline=self.allowance.seconds) from error

    async def _copied(self, tables: frozenset[Qualified], drafts: Iterable[Draft]) -> None:
        await self.close()
        self._tables |= tables
        made = await copy(
            self._database, self._catalog, self._tables,
            joins=tuple(one for draft in drafts for one in joins(draft.query, self._catalog)),
            on_progress=self._wishes.progress,
        )  # fmt: skip
        self._sandbox = made
        self.bytes, self.seconds = self.bytes + made.taken.bytes, self.seconds + made.taken.seconds
        self.notes += [note for note in made.notes if note not in self.notes]

    async def _given(self, sandbox: Sandbox, needs: Iterable[str]) -> None:
        for statement in needs:
            try:
                async with sandbox.autocommit() as connection:
                    await connection.exec_driver_sql(statement)
            except Exception as error:
                if not sqlstate(error):
                    raise
                self.notes.append(f"the copy lacks what an index needs ({statement}): {words(error)}")


def table_of(index: Index, catalog: Catalog) -> Qualified | None:
    """The table of an index, as the catalogue names it."""
    parts = table_parts(index.table)
    table = catalog.find(parts[-1], parts[0] if len(parts) > 1 else None)
    return table.name if table is not None else None


def tables_of(query: Query, catalog: Catalog) -> frozenset[Qualified]:
    """The tables that a statement reads and writes, by views too, as far as the catalogue knows them."""
    found: set[Qualified] = set()
    try:
        block = scope.resolve(parse(query.sql), catalog, query.search_path)
        for one, _ in scope.asked(block):
            found |= {source.table.name for source in one.sources if source.table is not None}
    except SqlInvalid:
        pass
    for name in query.statement.tables:
        schema, _, plain = name.rpartition(".")
        paths = (schema,) if schema else query.search_path or ("",)
        for path in paths:
            table = catalog.find(plain.strip('"').replace('""', '"'), path.strip('"').replace('""', '"') or None)
            if table is not None:
                found.add(table.name)
                break
    return frozenset(found)


def joins(query: Query, catalog: Catalog) -> Iterator[tuple[Qualified, ForeignKey]]:
    """What a statement joins by a key of another table, though no foreign key says so."""
    try:
        block = scope.resolve(parse(query.sql), catalog, query.search_path)
    except SqlInvalid:
        return
    for one, predicates in scope.asked(block):
        for each in predicates:
            if each.kind != "join" or each.source is None or each.other_source is None:
                continue
            child, parent = one.sources[each.source].table, one.sources[each.other_source].table
            column, other = each.column, each.other_column
            if child is None or parent is None or column is None or other is None or child.name == parent.name:
                continue
            if (other,) in parent.unique_keys:
                yield child.name, ForeignKey("", (column,), parent.name, (other,))
