"""What is claimed to help, really made in the sandbox, and taken away again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rewrite
from tercet.advisor.allowance import TIME_UP
from tercet.advisor.failure import sqlstate, words
from tercet.advisor.verify.change import Drop, title
from tercet.sql import Index, View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.advisor.allowance import Allowance
    from tercet.advisor.port import Progress
    from tercet.advisor.verify.change import Change
    from tercet.advisor.verify.runs import Runs


@dataclass(frozen=True, slots=True)
class Built:
    """A change as it stands on the place; `refused` says why it does not. Indexes are known by oids and by names."""

    change: Change
    oids: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()
    size_bytes: int = 0
    seconds: float | None = None
    refused: str = ""


@dataclass
class Building:
    """Makes changes on a place that may be built on."""

    runs: Runs
    allowance: Allowance
    on_progress: Progress | None = None
    monotonic: Callable[[], float] = time.monotonic
    _made: list[Index | View] = field(default_factory=list)

    async def build(self, changes: Sequence[Change]) -> tuple[Built, ...]:
        """All of them; views before the indexes that may be on them."""
        order = sorted(range(len(changes)), key=lambda at: not isinstance(changes[at], View))
        built: dict[int, Built] = {}
        for done, at in enumerate(order):
            if self.on_progress is not None:
                self.on_progress(f"building {title(changes[at])}", done, len(order))
            built[at] = await self._one(changes[at])
        await self._analyze()
        return tuple(built[at] for at in range(len(changes)))

    async def clear(self) -> None:
        """Take away what was made, what was made last first."""
        while self._made:
            made = self._made.pop()
            drop = made.drop(concurrently=False) if isinstance(made, Index) else made.drop()
            async with self.runs.place.autocommit() as connection:
                await connection.exec_driver_sql(drop)

    async def _one(self, change: Change) -> Built:
        if isinstance(change, Rewrite):
            return Built(change)
        if self.runs.place.kind != "sandbox":
            return Built(change, refused=f"nothing is built on {_shown(self.runs.place.kind)}")
        if isinstance(change, Drop):
            found = await self.runs.index(change.index.qualified)
            refused = "" if found.oids else "no index of this name is in the copy"
            return Built(change, found.oids, found.names, found.size_bytes, refused=refused)
        return await self._make(change)

    async def _make(self, change: Index | View) -> Built:
        if not self.allowance.left:
            return Built(change, refused=TIME_UP)
        began = self.monotonic()
        limit = self.allowance.limit()
        try:
            async with limit:
                why = await self._create(change)
        except Exception as error:
            if limit.expired():
                return Built(change, refused=TIME_UP)
            if not sqlstate(error):
                raise
            why = f"the server does not make it: {words(error)}"
        if why:
            return Built(change, refused=why)
        self._made.append(change)
        seconds = self.monotonic() - began
        if isinstance(change, View):
            return Built(change, size_bytes=await self.runs.size(change.qualified), seconds=seconds)
        found = await self.runs.index(change.qualified)
        return Built(change, found.oids, found.names, found.size_bytes, seconds)

    async def _create(self, change: Index | View) -> str:
        """Make it; why that cannot be, else nothing."""
        if isinstance(change, View):
            await self._run(change.create(), *(one.create(concurrently=False) for one in change.all_indexes))
        elif (await self.runs.index(change.qualified)).oids:
            return "an index of this name is there already"
        else:
            await self._run(change.create(concurrently=False))
        return ""

    async def _run(self, *statements: str) -> None:
        async with self.runs.place.transaction(within=0) as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    async def _analyze(self) -> None:
        """Statistics of expressions and of views, and the map for index-only scans."""
        tables = (one.qualified if isinstance(one, View) else one.qualified_table for one in self._made)
        for table in dict.fromkeys(tables):
            async with self.runs.place.autocommit() as connection:
                await connection.exec_driver_sql(f"vacuum (analyze) {table}")


def _shown(kind: str) -> str:
    return "a replica" if kind == "replica" else kind
