"""The shadow planner: a WhatIf in a server of production's major version that holds statistics instead of rows."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import msgspec

from tercet.advisor.advice import Engine
from tercet.advisor.marked import marked
from tercet.advisor.port import Costed, EngineKind, Refused
from tercet.advisor.private.cluster import SUPERUSER, Cluster
from tercet.advisor.private.postgres_desk import Desk
from tercet.advisor.private.recipe import VERSIONS_A_MAJOR
from tercet.advisor.private.scratch import scratch
from tercet.advisor.shadow import deviation as deviating
from tercet.advisor.shadow import explained
from tercet.advisor.shadow.making.postgres import PLANNER, Link
from tercet.advisor.shadow.making.postgres_build import build
from tercet.advisor.shadow.making.postgres_plan import Planning
from tercet.advisor.shadow.making.postgres_suppose import Known, Workshop
from tercet.advisor.shadow.making.postgres_view import suppose_view
from tercet.advisor.shadow.making.tables import Tables
from tercet.advisor.shadow.relevance import Relevance
from tercet.advisor.shadow.server import server_like
from tercet.advisor.shadow.taken.dump import read_about, read_dump
from tercet.advisor.shadow.taken.ends import read_ends
from tercet.advisor.shadow.taken.sample import Sampler
from tercet.errors import NotOpen
from tercet.sql import Plan, identifier
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
    from types import TracebackType

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.port import Progress, Supposed
    from tercet.advisor.query import Query
    from tercet.advisor.shadow.taken.dump import Dump
    from tercet.advisor.shadow.taken.ends import End
    from tercet.sql import Index, Node, View
    from tercet.sql.port import Database

# A cost is some hundred bytes; a thorough search asks for 20,000.
_COSTS_MAX = 100_000
# A plan is some ten kilobytes. What is told of a statement was mostly asked while its indexes were chosen.
_TEXTS_MAX = 500

# Beside the one that the shadow is in.
_SCRATCH = "tercet_scratch"

_Key = tuple[str, frozenset[int], frozenset[int], tuple[str, ...]]


class Shadow:
    """Plans as production would, and touches nothing of it. An async context manager; see port.WhatIf."""

    kind: EngineKind = "shadow"

    def __init__(self, database: Database, cluster: Cluster, workshop: Workshop, dump: Dump) -> None:
        self._database, self._cluster, self._workshop = database, cluster, workshop
        self._planning = Planning(workshop.master, workshop.hand)
        self._relevance = Relevance(dump)
        self._supposed: dict[str, Known | Refused] = {}
        self._views: dict[str, Supposed | Refused] = {}
        # Names in plans that are not those that were given: an index of a partition.
        self._given: dict[str, str] = {}
        self._real = _standing(dump, workshop)
        self._costs: OrderedDict[_Key, Costed] = OrderedDict()
        self._texts: OrderedDict[_Key, str] = OrderedDict()
        self._folded: dict[str, str] = {}
        self._one = asyncio.Lock()
        self._closed = self._scratched = False
        self._unicode, self._version = dump.about.encoding == "UTF8", dump.about.major * VERSIONS_A_MAJOR
        self.why = _why(dump.about.major, cluster.major)
        # What could not be carried over, a sentence each.
        self.notes: tuple[str, ...] = ()
        self.read_bytes, self.read_seconds, self.seconds = 0, 0.0, 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def tried(self) -> int:
        """How many statements were planned."""
        return self._planning.explained

    async def suppose(self, indexes: Sequence[Index]) -> Mapping[str, Supposed | Refused]:
        """Make indexes known, all off, and tell their sizes by name; one that is known already is kept."""
        async with self._one:
            self._check()
            new = {index.name: index for index in indexes if index.name not in self._supposed}
            await self._planning.under(())
            for name, known in (await self._workshop.suppose(tuple(new.values()))).items():
                self._learn(name, known)
            found = {index.name: self._supposed[index.name] for index in indexes}
        return {name: one if isinstance(one, Refused) else one.supposed for name, one in found.items()}

    async def suppose_view(self, view: View, *, rows: float) -> Supposed | Refused:
        """Make a materialized view known with its indexes, as if it held so many rows; queries may name it then."""
        name = table_parts(view.name)[-1]
        async with self._one:
            self._check()
            if name not in self._views:
                await self._planning.under(())
                self._views[name], indexes = await suppose_view(self._workshop, view, rows)
                for known in indexes:
                    self._learn(known.supposed.name, known)
                await self._planning.keep(oid for known in indexes for oid in known.oids)
                self._costs.clear()
                self._texts.clear()
        return self._views[name]

    async def extend(self, statements: Iterable[str]) -> tuple[str, ...]:
        """Make extensions that production could have (CREATE EXTENSION …); what the server says to those that fail."""
        async with self._one:
            self._check()
            tried = [await self._workshop.master.attempt(one) for one in statements]
            self._costs.clear()
            self._texts.clear()
        return tuple(why for why in tried if why is not None)

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Database]:
        """An empty database that sorts like production, in the same server, or one by itself where that has none."""
        async with self._one:
            self._check()
            # Not every encoding has all the letters that are tried.
            if self._unicode and not self._scratched:
                made = f"create database {_SCRATCH} template template0"
                self._scratched = await self._workshop.master.attempt(made) is None
        if not self._scratched:
            async with scratch(self._version) as database:
                yield database
            return
        desk = Desk(self._cluster.url(_SCRATCH))
        try:
            yield desk
        finally:
            await asyncio.shield(desk.close())

    async def cost(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Costed | Refused:
        """The planner's cost of a statement; one with $1 in it is planned generically."""
        key = self._key(sql, using, hiding, search_path)
        found = self._costs.get(key)
        if found is not None:
            self._costs.move_to_end(key)
            return found
        text = await self._explain(*key)
        if isinstance(text, Refused):
            return text
        step = explained.read(text)
        used = frozenset(self._given.get(name, name) for name in explained.indexes(step))
        costed = self._costs[key] = Costed(step.total, used)
        if len(self._costs) > _COSTS_MAX:
            self._costs.popitem(last=False)
        return costed

    async def plan(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Plan | Refused:
        """The whole plan of a statement."""
        text = await self._explain(*self._key(sql, using, hiding, search_path))
        if isinstance(text, Refused):
            return text
        plan = Plan.read(text)
        return replace(plan, root=self._as_given(plan.root)) if self._given.keys() & set(plan.indexes) else plan

    async def deviation(self, queries: Sequence[Query]) -> Engine:
        """The same statements planned here and on production, where nothing but EXPLAIN is asked, under limits."""

        async def here(sql: str, search_path: tuple[str, ...]) -> str | Refused:
            return await self._explain(*self._key(sql, (), (), search_path))

        found = await deviating.deviation(self._database, queries, here)
        self.read_bytes += found.read_bytes
        sampler = self._workshop.sampler
        return Engine(
            self.kind,
            self.why,
            cost_error_worst=found.worst,
            cost_error_mean=found.mean,
            same_plans=found.same,
            plans=found.plans,
            read_bytes=self.read_bytes,
            read_seconds=self.read_seconds + found.seconds + (sampler.seconds if sampler else 0.0),
            tried=self.tried,
            seconds=self.seconds,
        )

    async def close(self) -> None:
        """End the server and take its folder away; twice is fine."""
        self._closed = True
        await asyncio.shield(_end(self._cluster, self._workshop.master, self._workshop.hand))

    def _learn(self, name: str, known: Known | Refused) -> None:
        self._supposed[name] = known
        if isinstance(known, Known):
            self._given |= dict.fromkeys(known.names - {name}, name)

    def _as_given(self, node: Node) -> Node:
        """A step that names the index that was supposed, and not its part in a partition."""
        below = tuple(self._as_given(child) for child in node.children)
        return replace(node, index=self._given.get(node.index or "", node.index), children=below)

    def _key(self, sql: str, using: Iterable[str], hiding: Iterable[str], search_path: Iterable[str]) -> _Key:
        """The statement with those of the indexes that can matter to it."""
        folded = self._folded.get(sql)
        if folded is None:
            if len(self._folded) > _COSTS_MAX:
                self._folded.clear()
            folded = self._folded[sql] = sql.casefold()
        on = {
            oid
            for name in using
            if isinstance(known := self._supposed.get(name), Known) and self._matters(folded, known.tables)
            for oid in known.oids
        }
        off = {oid for name in hiding for oid, table in self._real.get(name, ()) if self._matters(folded, (table,))}
        return sql, frozenset(on), frozenset(off), tuple(search_path)

    def _matters(self, folded: str, tables: Iterable[str]) -> bool:
        return any(self._relevance.touches(folded, self._relevance.family(table)) for table in tables)

    async def _explain(
        self, sql: str, on: frozenset[int], off: frozenset[int], search_path: tuple[str, ...]
    ) -> str | Refused:
        key = sql, on, off, search_path
        async with self._one:
            self._check()
            if key in self._texts:
                self._texts.move_to_end(key)
                return self._texts[key]
            text = await self._planning.explain(sql, on, off, search_path)
            if not isinstance(text, Refused):
                self._texts[key] = text
                if len(self._texts) > _TEXTS_MAX:
                    self._texts.popitem(last=False)
            return text

    def _check(self) -> None:
        if self._closed:
            raise NotOpen("The shadow planner", closed=True)


async def shadow(
    database: Database, catalog: Catalog, *, sample: bool = False, on_progress: Progress | None = None
) -> Shadow:
    """Make a shadow of this database: a second or two, and a look at production's catalogue.

    Without a server program of production's major version here the nearest one plans, which `why` says and
    `deviation` measures. Raises ServerMissing if there is none at all, ServerFailed if it does not start. Settings
    of the planner that `catalog` names are the shadow's, so that others than production's can be tried. With `sample`
    it may count distinct values in a few hundred pages of production's large tables, so that sizes come closer.
    """
    began = time.perf_counter()
    database = marked(database)
    tell = on_progress or (lambda _what, _done, _all: None)
    about = await read_about(database)
    cluster = server_like(about)
    links: list[Link] = []
    tell("starting a shadow server", 0, 0)
    starting = asyncio.create_task(cluster.start())
    try:
        dump = await read_dump(database, on_progress)
        ends, more = await read_ends(database, dump)
        await starting
        tell("building the shadow", 0, 0)
        made = await _build(database, cluster, dump, ends, catalog.settings, links)
    except BaseException:
        await asyncio.shield(_given_up(starting, cluster, *links))
        raise
    made._workshop.sampler = Sampler(database) if sample else None  # noqa: SLF001 - it is ours
    made.read_bytes, made.read_seconds = dump.read_bytes + more, dump.read_seconds
    made.seconds = time.perf_counter() - began
    return made


async def _build(
    database: Database,
    cluster: Cluster,
    dump: Dump,
    ends: Sequence[End],
    others: Mapping[str, str],
    links: list[Link],
) -> Shadow:
    master = await Link.open(cluster.folder, cluster.port, SUPERUSER)
    links.append(master)
    await master.run(master.statements["prepare"])
    # So that names without a schema mean the same as on production.
    path = ", ".join(identifier(schema) for schema in dump.about.search_path)
    wanted = {name: others.get(name, value) for name, value in dump.settings.items()} | {"search_path": path}
    for (setting,) in await master.rows("settings", msgspec.json.encode(wanted).decode()):
        await master.attempt(setting)
    await master.run(f"set search_path = {path or identifier('pg_catalog')}")
    hand = await Link.open(cluster.folder, cluster.port, PLANNER)
    links.append(hand)
    built = await build(master, hand, dump, msgspec.json.encode(ends).decode(), cluster.data)
    tables = Tables(master)
    await tables.read()
    made = Shadow(database, cluster, Workshop(master, hand, built, tables), dump)
    made.notes = built.notes
    await made._planning.begin()  # noqa: SLF001 - it is ours
    return made


def _standing(dump: Dump, workshop: Workshop) -> dict[str, tuple[tuple[int, str], ...]]:
    """The real indexes of the shadow by name, each as its oid and its table; a partitioned one means its parts."""
    places = {(place.schema, place.name): place.oid for place in workshop.built.places.values() if place.kind == "i"}
    parts: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for index in dump.indexes:
        if index.parent is not None:
            parts.setdefault((index.parent.schema, index.parent.name), []).append(
                (index.schema, index.name, index.table)
            )
    found: dict[str, tuple[tuple[int, str], ...]] = {}
    for index in dump.indexes:
        waiting, oids = [(index.schema, index.name, index.table)], []
        while waiting:
            schema, name, table = waiting.pop()
            waiting.extend(parts.get((schema, name), ()))
            if (schema, name) in places:
                oids.append((places[schema, name], table))
        found[index.name] = (*found.get(index.name, ()), *oids)
    return found


def _why(wanted: int, found: int) -> str:
    if wanted == found:
        return f"PostgreSQL {found} plans in a shadow: production's schema, sizes and statistics, without its rows."
    return (
        f"Production is PostgreSQL {wanted} and no program of that version is here, so PostgreSQL {found} plans in its "
        f"shadow: plans may differ. Install PostgreSQL {wanted} here for exact ones."
    )


async def _given_up(starting: asyncio.Task[None], cluster: Cluster, *links: Link) -> None:
    """What is being started is waited for first: it could not be stopped else."""
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await _end(cluster, *links)


async def _end(cluster: Cluster, *links: Link) -> None:
    for link in links:
        await link.close()
    await cluster.close()
