"""Statements are planned in a shadow under a set of indexes; none is ever run."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING

from tercet.advisor.shadow.making.postgres import REFUSALS, refusal
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tercet.advisor.port import Refused
    from tercet.advisor.shadow.making.postgres import Link

_PARAMETER = re.compile(r"\$[1-9]")
# A prepared statement keeps its parsed tree in the server: some kilobytes each.
_PREPARED_MAX = 200
_PREPARED = "tercet_asked_"


class Planning:
    """Switches indexes on and off, and explains."""

    __slots__ = ("_hand", "_master", "_number", "_off", "_prepared", "_search_path", "explained")

    def __init__(self, master: Link, hand: Link) -> None:
        self._master, self._hand = master, hand
        # Supposed ones that are on and real ones that are off, as the server has them.
        self._off: dict[int, bool] = {}
        # EXECUTE by the statement and its search_path.
        self._prepared: OrderedDict[tuple[str, tuple[str, ...]], str] = OrderedDict()
        # As it is set on the one that plans; () is production's own.
        self._search_path: tuple[str, ...] = ()
        self._number = 0
        self.explained = 0

    async def begin(self) -> None:
        """From here on the one that plans cannot change anything, and plans what has $1 in it generically."""
        await self._hand.run(self._hand.statements["plan_only"])

    async def explain(
        self, sql: str, on: frozenset[int], off: frozenset[int], search_path: tuple[str, ...] = ()
    ) -> str | Refused:
        """EXPLAIN's JSON with these supposed indexes there and these real ones not."""
        self.explained += 1
        try:
            await self.under(search_path)
            await self._switch(on, off)
            asked = await self._executed(sql) if _PARAMETER.search(sql) else None
            text: str = await self._hand.connection.fetchval(f"explain (format json) {asked or sql}")
        except REFUSALS as error:
            return refusal((self._master, self._hand), sql, error)
        return text

    async def under(self, search_path: tuple[str, ...]) -> None:
        """Let names mean what they mean under this search_path from now on; () is production's own."""
        if search_path != self._search_path:
            path = ", ".join(identifier(schema) for schema in search_path)
            await self._hand.run(f"set search_path = {path}" if path else "reset search_path")
            self._search_path = search_path

    async def keep(self, oids: Iterable[int]) -> None:
        """Switch these on for good."""
        await self._master.rows("switch", changed := list(oids), changed)

    async def _switch(self, on: frozenset[int], off: frozenset[int]) -> None:
        wanted = dict.fromkeys(on, True) | dict.fromkeys(off, False)
        # What is switched otherwise goes back: a supposed one off, a real one on.
        changed = [oid for oid in wanted.keys() | self._off.keys() if wanted.get(oid) is not self._off.get(oid)]
        if not changed:
            return
        valid = [oid for oid in changed if wanted.get(oid, not self._off.get(oid))]
        await self._master.rows("switch", valid, changed)
        self._off = wanted
        if self._prepared:
            # A plan that is kept does not look at pg_index again by itself.
            await self._hand.run("discard plans")

    async def _executed(self, sql: str) -> str | None:
        """EXECUTE for a statement with parameters; None if there are none after all."""
        asked = sql, self._search_path
        call = self._prepared.get(asked)
        if call is not None:
            self._prepared.move_to_end(asked)
            return call or None
        self._number += 1
        name = f"{_PREPARED}{self._number}"
        # By the extended protocol, in which a text can be but one statement.
        await self._hand.connection.fetch(f"prepare {name} as {sql}")
        count = (await self._hand.rows("parameters", name))[0][0]
        nothing = ", ".join(["null"] * count)
        self._prepared[asked] = f"execute {name}({nothing})" if count else ""
        if len(self._prepared) > _PREPARED_MAX:
            _, oldest = self._prepared.popitem(last=False)
            if oldest:
                await self._hand.run(f"deallocate {oldest.removeprefix('execute ').partition('(')[0]}")
        return self._prepared[asked] or None
