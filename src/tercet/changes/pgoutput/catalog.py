"""What the protocol has told of tables and types, and by which plan each table's changes are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.changes.pgoutput.message import NUMBER, broken, string
from tercet.changes.pgoutput.relation import Plan, plan, read_relation
from tercet.changes.pgoutput.types import Convert, converter

if TYPE_CHECKING:
    from tercet.changes.pgoutput.wanted import Wanted


class Catalog:
    """The tables as they are described at this place of the log; a table that nobody wants has None for a plan."""

    __slots__ = ("_heard", "_told", "_types", "plans", "wanted")

    def __init__(self, wanted: Wanted, types: dict[int, Convert] | None = None) -> None:
        self.wanted = wanted
        self.plans: dict[int, Plan | None] = {}
        self._types: dict[int, Convert] = {} if types is None else types
        # How many descriptions have been told, and which of them each table's plan is made of.
        self._told = 0
        self._heard: dict[int, int] = {}

    def relation(self, data: bytes, at: int) -> None:
        """A Relation message: from here on the table is so."""
        relation = read_relation(data, at)
        self.plans[relation.number] = plan(relation, self.wanted, self._types)
        self._heard[relation.number] = self.tell()

    def type(self, data: bytes, at: int) -> None:
        """A Type message: what a type that somebody made is; a type's number never gets another meaning."""
        (number,) = NUMBER.unpack_from(data, at)
        schema, at = string(data, at + 4)
        name, at = string(data, at)
        self._types[number] = converter(schema, name)

    def plan(self, data: bytes, at: int) -> Plan | None:
        """How the table is read whose number stands there."""
        (number,) = NUMBER.unpack_from(data, at)
        try:
            return self.plans[number]
        except KeyError:
            raise broken(f"a change of relation {number}, which was not described") from None

    def tell(self) -> int:
        """The number of one more description."""
        self._told += 1
        return self._told

    def fork(self) -> Catalog:
        """One of its own for a transaction that is read later than it was sent."""
        own = Catalog(self.wanted, self._types)
        own.plans = dict(self.plans)
        return own

    def adopt(self, own: Catalog, told: dict[int, int]) -> None:
        """That transaction is committed: what it has described holds, where nothing was described since."""
        for number, when in told.items():
            if when > self._heard.get(number, 0):
                self.plans[number] = own.plans[number]
                self._heard[number] = when
