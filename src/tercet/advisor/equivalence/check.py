"""Trying to refute that two statements ask the same: both run on mean data, and their answers are compared."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from tercet.advisor.equivalence.answers import Asked, compare
from tercet.advisor.equivalence.asking import Asking, as_text, asking, with_values
from tercet.advisor.equivalence.determined import determined
from tercet.advisor.equivalence.edges.data import MANNERS, Touching, data_for
from tercet.advisor.equivalence.edges.pools import pool
from tercet.advisor.equivalence.postgres_scratch import STATEMENT_SECONDS, TOO_LONG, Failed, Scratch
from tercet.advisor.equivalence.shrinking import shrunk
from tercet.advisor.equivalence.statements import statement
from tercet.advisor.equivalence.verdict import Checked
from tercet.sql.tree import Tree, parse, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.equivalence.edges.data import Rows
    from tercet.advisor.equivalence.verdict import Finding
    from tercet.sql.port import Database

# Twice through all manners: on the second round the same manner draws other values.
SEEDS = 2 * len(MANNERS)
# More data are not tried once so many have taken too long.
_LATE_MAX = 2
# What a LIMIT or another whole number may be given as a parameter.
_NUMBERS = ("2", "1", "3", "5", "0", "10")


class _Undo(Exception):
    """No error: everything was done, and nothing of it shall stay."""


async def check(before: str, after: str, catalog: Catalog, database: Database, *, seeds: int = SEEDS) -> Checked:
    """Try to find data on which two queries answer differently, in an empty database where nothing stays.

    The touched tables are made as the catalog knows them inside one transaction that is rolled back, and filled
    with `edge_data` of each seed. Rows are compared as a multiset, or in order where the first query has one;
    rows tied in that order may come in any. A query that fails on some data asks nothing there; one that fails
    only after the rewrite is refuted by it.
    """
    first, second = parse(before), parse(after)
    if "SelectStmt" not in (first.kind, second.kind) or first.kind != second.kind:
        return Checked("unchecked", why="only a SELECT can be compared by its rows")
    # Ties under a LIMIT are seen in the rows; what else is open would show as a difference that is none.
    opened = [one for one in determined(first, catalog) if _hidden(one)]
    fresh = [one for one in determined(second, catalog) if one.kind == "ties" or _hidden(one)]
    found = Checked("unchecked")
    try:
        async with database.transaction(within=STATEMENT_SECONDS) as connection:
            scratch = Scratch(connection, catalog, (first, second))
            try:
                found = await _Check(scratch, first, second, catalog, seeds).run()
            except Failed as error:
                found = Checked("unchecked", why=str(error))
            raise _Undo  # noqa: TRY301 - the block that it leaves is the transaction
    except _Undo:
        pass
    if found.outcome == "refuted" and opened:
        return Checked("undetermined", found.tried, found.rows, opened[0].sentence(), found.counterexample)
    if (
        found.outcome == "same"
        and fresh
        and not any(one.open and one.kind != "time_zone" for one in determined(first, catalog))
    ):
        why = f"the second one leaves open what the first one decides: {fresh[0].sentence()}"
        return Checked("undetermined", found.tried, found.rows, why)
    return found


def _hidden(finding: Finding) -> bool:
    return finding.open and finding.kind not in {"ties", "time_zone"}


class _Check:
    def __init__(self, scratch: Scratch, before: Tree, after: Tree, catalog: Catalog, seeds: int) -> None:
        self.scratch, self.before, self.after = scratch, before, after
        self.catalog, self.seeds = catalog, seeds
        self.kinds: tuple[str, ...] = ()
        self.tried = self.rows = 0
        self.late = 0
        self.loose = False
        self.refused = ""

    async def run(self) -> Checked:
        await self.scratch.make()
        if any(one.kind == "ParamRef" for one in self.before.walk()):
            self.kinds = await self.scratch.parameters(write(self.before))
        same = Touching.of((self.before, self.after), self.catalog)
        for seed in range(self.seeds):
            pair = self._pair(seed)
            if seed == 0 and (differing := await self._columns(pair)):
                return Checked("refuted", why=differing)
            await self.scratch.plan(seed)
            data = data_for(same if not self.kinds else Touching.of(pair, self.catalog), seed)
            answers = await self._answers(data, pair)
            if self.late == _LATE_MAX:
                break
            if answers is None:
                continue
            asked, after = answers
            self.tried += 1
            self.rows += len(asked.taken)
            outcome = "refuted" if isinstance(after, str) else compare(asked, after)
            if outcome == "refuted":
                return await self._refuted(data, pair)
            self.loose = self.loose or outcome == "undetermined"
        return self._verdict()

    def _verdict(self) -> Checked:
        if not self.tried:
            return Checked("unchecked", why=f"the query fails on all data: {self.refused}")
        if self.loose:
            why = "its LIMIT cuts through rows that are tied, and others of them may come"
            return Checked("undetermined", self.tried, self.rows, why)
        return Checked("same", self.tried, self.rows, "" if self.rows else "it gave no rows on any data")

    def _pair(self, seed: int) -> tuple[Tree, Tree]:
        """Both queries with the same values for $1, $2 …"""
        if not self.kinds:
            return self.before, self.after
        chance = Random(seed)  # noqa: S311 - the same values each time are the point
        values = {}
        for number, kind in enumerate(self.kinds, 1):
            usual = _NUMBERS if kind in {"bigint", "integer"} else pool(kind, ()) or ("",)
            values[number] = (chance.choice(usual), kind)
        return with_values(self.before, values), with_values(self.after, values)

    async def _columns(self, pair: tuple[Tree, Tree]) -> str:
        one, other = [await self.scratch.columns(write(tree)) for tree in pair]
        if one == other or one is None:
            return ""
        return f"its columns become ({other}), and were ({one})"

    async def _answers(self, data: Sequence[Rows], pair: tuple[Tree, Tree]) -> tuple[Asked, Sequence[str] | str] | None:
        """What both say on this data; None where the first one fails."""
        await self.scratch.fill(data)
        try:
            asked = await self._asked(asking(pair[0]))
            if isinstance(asked, str):
                self.refused = asked
                self.late += asked == TOO_LONG
                return None
            after = await self.scratch.answer(as_text(pair[1]))
            if after == TOO_LONG:
                self.refused, self.late = TOO_LONG, self.late + 1
                return None
            return asked, after
        finally:
            await self.scratch.empty()

    async def _asked(self, way: Asking) -> Asked | str:
        parts: list[tuple[str, ...]] = []
        for asked in (way.rows, way.ties, _number(way.offset), _number(way.limit)):
            answer = await self.scratch.answer(asked) if asked else ()
            if isinstance(answer, str):
                return answer
            parts.append(answer)
        rows, ties, offset, limit = parts
        start = int(offset[0] or 0) if offset else 0
        stop = start + int(limit[0]) if limit and limit[0] else None
        if start < 0 or (stop is not None and stop < start):
            return "LIMIT and OFFSET must not be negative"
        return Asked(rows, ties if way.ties else None, start, stop)

    async def _refuted(self, data: Sequence[Rows], pair: tuple[Tree, Tree]) -> Checked:
        async def differ(smaller: Sequence[Rows]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
            answers = await self._answers(smaller, pair)
            if answers is None:
                return None
            asked, after = answers
            if isinstance(after, str):
                return asked.taken, (f"error: {after}",)
            return (asked.taken, tuple(after)) if compare(asked, after) == "refuted" else None

        found = await shrunk(data, differ)
        why = "one of them fails" if found is not None and found.after[:1] and "error: " in found.after[0] else ""
        return Checked("refuted", self.tried, self.rows, why or "they answer differently", found)


def _number(expression: str | None) -> str | None:
    return None if expression is None else statement("number", expression=expression)
