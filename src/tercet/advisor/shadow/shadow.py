"""The shadow planner: a WhatIf in a server of production's major version that holds statistics instead of rows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tercet.advisor.port import Costed, EngineKind, Refused
from tercet.advisor.shadow import explained
from tercet.advisor.shadow.dump import read_about, read_dump
from tercet.advisor.shadow.ends import read_ends
from tercet.advisor.shadow.postgres import PLANNER, REFUSALS, Link, words
from tercet.advisor.shadow.postgres_build import build
from tercet.advisor.shadow.postgres_suppose import Known, Workshop
from tercet.advisor.shadow.server import SUPERUSER, Cluster
from tercet.advisor.shadow.tables import Tables
from tercet.errors import NotOpen
from tercet.sql import Plan, identifier

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from types import TracebackType

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.port import Database, Progress, Supposed
    from tercet.advisor.shadow.dump import Dump
    from tercet.sql import Index


class Shadow:
    """Plans as production would; nothing of it touches production. An async context manager."""

    kind: EngineKind = "shadow"

    def __init__(self, cluster: Cluster, master: Link, planner: Link, workshop: Workshop, dump: Dump) -> None:
        self._cluster, self._master, self._planner, self._workshop = cluster, master, planner, workshop
        self._dump = dump
        self._supposed: dict[str, Known | Refused] = {}
        self._real: dict[str, tuple[int, ...]] = {}
        for place in workshop.built.places.values():
            if place.kind == "i":
                self._real[place.name] = (*self._real.get(place.name, ()), place.oid)
        self._off: frozenset[int] = frozenset()
        self._on: frozenset[int] = frozenset()
        self._one = asyncio.Lock()
        self._closed = False
        self.why = ""
        self.notes: tuple[str, ...] = ()
        self.read_bytes, self.read_seconds, self.seconds, self.tried = 0, 0.0, 0.0, 0

    async def __aenter__(self) -> Shadow:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def suppose(self, indexes: Sequence[Index]) -> Mapping[str, Supposed | Refused]:
        """Make indexes known, all off, and tell their sizes by name; one that is known already is kept."""
        async with self._one:
            self._check()
            for index in indexes:
                if index.name not in self._supposed:
                    self._supposed[index.name] = await self._workshop.suppose(index)
            found = {index.name: self._supposed[index.name] for index in indexes}
        return {name: one if isinstance(one, Refused) else one.supposed for name, one in found.items()}

    async def cost(self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = ()) -> Costed | Refused:
        """The planner's cost of a statement; one with $1 in it is planned generically."""
        text = await self._explain(sql, using, hiding)
        if isinstance(text, Refused):
            return text
        step = explained.read(text)
        return Costed(step.total, self._told(explained.indexes(step)))

    async def plan(self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = ()) -> Plan | Refused:
        """The whole plan of a statement."""
        text = await self._explain(sql, using, hiding)
        return text if isinstance(text, Refused) else Plan.read(text)

    async def close(self) -> None:
        """End the server and take its folder away; twice is fine."""
        if self._closed:
            return
        self._closed = True
        await asyncio.shield(_end(self._cluster, self._master, self._planner))

    async def _explain(self, sql: str, using: Collection[str], hiding: Collection[str]) -> str | Refused:
        async with self._one:
            self._check()
            await self._switch(using, hiding)
            self.tried += 1
            try:
                text: str = await self._planner.connection.fetchval(f"explain (format json) {sql}")
            except REFUSALS as error:
                return Refused(sql, words(error))
        return text

    async def _switch(self, using: Collection[str], hiding: Collection[str]) -> None:
        on = {oid for name in using if isinstance(known := self._supposed.get(name), Known) for oid in known.oids}
        off = {oid for name in hiding for oid in self._real.get(name, ())}
        changed = (on ^ self._on) | (off ^ self._off)
        if changed:
            valid = (on | (self._off - off)) & changed
            await self._master.rows("switch", list(valid), list(changed))
            self._on, self._off = frozenset(on), frozenset(off)

    def _told(self, names: frozenset[str]) -> frozenset[str]:
        return names

    def _check(self) -> None:
        if self._closed:
            raise NotOpen("The shadow planner")


async def shadow(database: Database, catalog: Catalog, *, on_progress: Progress | None = None) -> Shadow:
    """Make a shadow of this database: about three seconds, and one look at production's catalogue."""
    began = time.perf_counter()
    tell: Any = on_progress or (lambda _what, _done, _all: None)
    about = await read_about(database)
    cluster = Cluster()
    links: list[Link] = []
    try:
        tell("starting a shadow server", 0, 0)
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(cluster.start(about))
            reading = group.create_task(read_dump(database, on_progress))
        await starting
        dump = reading.result()
        ends, more = await read_ends(database, dump)
        tell("building the shadow", 0, 0)
        assert cluster.folder is not None
        master = await Link.open(cluster.folder, cluster.port, SUPERUSER)
        links.append(master)
        await master.run(master.statements["prepare"])
        # So that names mean the same: those schemas of production's path that there are.
        path = ", ".join(identifier(schema) for schema in about.search_path)
        for (setting,) in await master.rows("settings", _json({**dump.settings, "search_path": path})):
            await master.attempt(setting)
        hand = await Link.open(cluster.folder, cluster.port, PLANNER)
        links.append(hand)
        built = await build(master, hand, dump, ends, cluster.data)
        tables = Tables(master)
        await tables.read()
        made = Shadow(cluster, master, hand, Workshop(master, hand, built, tables), dump)
    except BaseException:
        await asyncio.shield(_end(cluster, *links))
        raise
    made.notes = built.notes
    made.read_bytes, made.read_seconds = dump.read_bytes + more, dump.read_seconds
    made.seconds = time.perf_counter() - began
    return made


def _json(value: object) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()


async def _end(cluster: Cluster, *links: Link) -> None:
    for link in links:
        await link.close()
    await cluster.stop()
