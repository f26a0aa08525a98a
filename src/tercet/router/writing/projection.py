"""A projection: columns of a table, kept as fields of an entity in another store by the changes of the table."""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from tercet.changes import Wants
from tercet.errors import EntityInvalid, FieldMismatch, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from tercet.changes import Change, Commit
    from tercet.router.key import Key
    from tercet.router.plan import Field, Plan
    from tercet.router.source import InTable
    from tercet.router.writing.applying import Applier

_log = logging.getLogger("tercet.router")

# So many things are written at once; a store's pool has some more connections than that.
AT_ONCE = 16


class Rebuild(Protocol):
    """Reads a table in batches, each as it certainly is at the version that comes with it."""

    async def version(self) -> int:
        """The version of now."""
        ...

    def batches(self) -> AsyncIterator[tuple[int, Sequence[tuple[Any, ...]]]]:
        """The version of a batch, and its rows: the key, then the columns."""
        ...


class Projection:
    """A listener: what a commit has changed in a table is written into the stores of other fields.

    Each value carries the position of its commit, so what is told twice is written once, and an older commit never
    overwrites a newer one. After a gap everything is written anew, and what has no row any more is taken away.
    """

    def __init__(self, plan: Plan, columns: Mapping[Field, InTable], *, rebuild: Rebuild, applier: Applier) -> None:
        first = next(iter(columns.values()))
        self._plan, self._columns = plan, {field: str(one.column.name) for field, one in columns.items()}
        self._table, self._key = first.place.removeprefix("public."), str(first.key.name)
        self._rebuild, self._applier = rebuild, applier

    @property
    def wants(self) -> Wants:
        """The key and the columns that are kept."""
        return Wants({self._table: frozenset({self._key, *self._columns.values()})})

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Write what these have changed, of each thing the newest."""
        waiting: dict[Key, dict[Field, tuple[Any, int]]] = {}
        for commit in commits:
            if isinstance(commit.position, str):
                raise UsageError(
                    f"A projection of {self._plan.entity} was told changes without a position in a log.",
                    "Subscribe it to the changes of PostgreSQL.",
                )
            for change in commit.changes:
                if change.name != self._table:
                    continue
                if change.kind == "truncate":
                    # What was told before it is gone with the rest.
                    waiting.clear()
                    await self._applier.sweep(self._plan, self._columns, commit.position)
                else:
                    self._take(change, commit.position, waiting)
        await self._write(waiting)

    async def resync(self, why: str) -> None:
        """Write every row anew, and take away what was written for rows that are gone."""
        _log.info("the projection of %s is built anew: %s", self._plan.entity, why)
        began = await self._rebuild.version()
        fields = tuple(self._columns)
        async for version, rows in self._rebuild.batches():
            waiting: dict[Key, dict[Field, tuple[Any, int]]] = {}
            for key, *values in rows:
                self._keep(waiting, key, dict(zip(fields, values, strict=True)), version)
            await self._write(waiting)
        await self._applier.sweep(self._plan, fields, began)

    def _take(self, change: Change, version: int, waiting: dict[Key, dict[Field, tuple[Any, int]]]) -> None:
        """What one change makes of the things that it concerns."""
        before, after = change.old.get(self._key), change.new.get(self._key)
        if before is not None and (change.kind == "delete" or before != after):
            self._keep(waiting, before, dict.fromkeys(self._columns), version)
        if after is not None:
            # A column that is not told is as it was.
            known = {field: change.new[name] for field, name in self._columns.items() if name in change.new}
            self._keep(waiting, after, known, version)

    def _keep(
        self,
        waiting: dict[Key, dict[Field, tuple[Any, int]]],
        key: Any,
        values: Mapping[Field, Any],
        version: int,
    ) -> None:
        thing = waiting.setdefault(self._plan.key.of(key), {})
        for field, raw in values.items():
            if field in thing and thing[field][1] > version:
                continue
            try:
                thing[field] = (None if raw is None else field.lax(raw), version)
            except FieldMismatch as error:
                # It will never be of that type: whoever waits for it would wait for ever.
                _log.warning("a change cannot be kept: %s", error)

    async def _write(self, waiting: Mapping[Key, Mapping[Field, tuple[Any, int]]]) -> None:
        things = iter(waiting.items())
        while some := list(islice(things, AT_ONCE)):
            async with asyncio.TaskGroup() as group:
                for key, values in some:
                    group.create_task(self._write_one(key, values))

    async def _write_one(self, key: Key, values: Mapping[Field, tuple[Any, int]]) -> None:
        versions = sorted({version for _, version in values.values()})
        for version in versions:
            of_it = {field: value for field, (value, when) in values.items() if when == version}
            await self._applier.apply(self._plan, key, of_it, version)


def columns_of(plan: Plan, given: Mapping[str, InTable]) -> dict[Field, InTable]:
    """Which column is kept as which field; raises UsageError and EntityInvalid for what cannot be."""
    found: dict[Field, InTable] = {}
    for name, column in given.items():
        field = plan.field(name)
        if field is None:
            known = ", ".join(one.name for one in plan.fields)
            raise UsageError(f"{plan.entity} has no field {name!r}.", f"It has: {known}.")
        if field.declared.store == "postgres" or not field.saved:
            raise EntityInvalid(
                field.label,
                reason="a projection keeps values in MongoDB and Redis, and no counters or sets",
                mend="Name a field with mongo(…), redis.hash(…), redis.string(…) or redis.json(…).",
            )
        found[field] = column
    if not found or len({one.group for one in found.values()}) > 1:
        raise EntityInvalid(
            plan.entity, reason="a projection reads one table", mend="Name columns of one, and make another projection."
        )
    return found
