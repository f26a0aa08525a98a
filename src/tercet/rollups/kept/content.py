"""One thing that is stored of a group, and how each statement says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.rollups.kept.rollup import Rollup

# The types of sums that come back to what they were when what was added is taken away.
EXACT = frozenset({"bigint", "numeric"})


@dataclass(frozen=True, slots=True)
class Content:
    """A column of the table of groups. `name` is quoted, `of` is SQL over a row, `type` as the server writes it.

    A sum has the `count` of its values beside it; what is taken from a least or greatest goes under `taken`.
    """

    kind: Literal["rows", "count", "sum", "min", "max"]
    of: str
    name: str
    type: str
    count: str = ""
    taken: str = ""

    @property
    def additive(self) -> bool:
        """Whether it can be added to and taken from."""
        return self.kind not in {"min", "max"}

    @property
    def of_rows(self) -> str:
        """It, of the table's own rows."""
        return f"{counted(self.kind, self.of)} as {self.name}"

    @property
    def added(self) -> str:
        """What a row brings."""
        if not self.additive:
            return f"({self.of}) as {self.name}, null::{self.type} as {self.taken}"
        return f"{self._one} as {self.name}"

    @property
    def removed(self) -> str:
        """What a row takes away."""
        if not self.additive:
            return f"null::{self.type} as {self.name}, ({self.of}) as {self.taken}"
        return f"-{self._one} as {self.name}"

    @property
    def summed(self) -> str:
        """What several changes m come to."""
        if not self.additive:
            return f"{self.kind}(m.{self.name}) as {self.name}, {self.kind}(m.{self.taken}) as {self.taken}"
        return f"sum(m.{self.name})::{self.type} as {self.name}"

    @property
    def matters(self) -> str:
        """Whether they change anything."""
        if not self.additive:
            return f"{self.kind}(m.{self.name}) is distinct from {self.kind}(m.{self.taken})"
        return f"sum(m.{self.name}) <> 0"

    @property
    def moved(self) -> str:
        """A group k after the change that is to be inserted."""
        if not self.additive:
            return f"{self.name} = {'least' if self.kind == 'min' else 'greatest'}(k.{self.name}, excluded.{self.name})"
        both = f"k.{self.name} + excluded.{self.name}"
        if self.kind == "sum":
            either = f"coalesce({both}, k.{self.name}, excluded.{self.name})"
            return f"{self.name} = case when k.{self.count} + excluded.{self.count} <> 0 then {either} end"
        return f"{self.name} = {both}"

    @property
    def cast(self) -> str:
        """It, of parts m of a group that lie apart."""
        if self.kind == "sum":
            return f"case when sum(m.{self.count}) <> 0 then sum(m.{self.name})::{self.type} end as {self.name}"
        return f"{self.kind if not self.additive else 'sum'}(m.{self.name})::{self.type} as {self.name}"

    @property
    def empty(self) -> str:
        """Whether a group m without it is a group without rows."""
        return f"coalesce(m.{self.name}, 0) = 0" if self.additive else "true"

    @property
    def stale(self) -> str:
        """Whether it cannot be told by adding and taking away: the greatest was taken, or something infinite."""
        if self.additive:
            return f"coalesce(m.{self.name} = 'NaN', false)" if self.kind == "sum" and self.type == "numeric" else ""
        beyond = "<=" if self.kind == "min" else ">="
        return (
            f"(d.{self.taken} is not null and coalesce(d.{self.taken} {beyond} m.{self.name}, true)"
            f" and not coalesce(d.{self.name} {beyond} d.{self.taken}, false))"
        )

    @property
    def zero(self) -> str:
        """It, of no row."""
        return "0" if self.kind in {"rows", "count"} else "null"

    @property
    def true(self) -> str:
        """It, of the rows t that may not be there."""
        return f"coalesce(t.{self.name}, 0)" if self.kind in {"rows", "count"} else f"t.{self.name}"

    @property
    def unequal(self) -> str:
        """Whether two of it are not the same."""
        return f"min(m.{self.name}) is distinct from max(m.{self.name}) or count(m.{self.name}) = 1"

    @property
    def _one(self) -> str:
        if self.kind == "rows":
            return "1::bigint"
        if self.kind == "count":
            return f"(({self.of}) is not null)::int::bigint"
        # As wide as its sum, for the least number of a type has no opposite in it.
        return f"({self.of})::{self.type}"


def counted(kind: str, of: str) -> str:
    """The aggregate over the table's rows."""
    return "count(*)" if kind == "rows" else f"{kind}({of})"


def contents(rollup: Rollup, types: Mapping[str, str]) -> tuple[Content, ...]:
    """All that is stored of a group, in its order."""
    counts = {of: identifier(name) for (kind, of), name in rollup.stored.items() if kind == "count"}
    return tuple(
        Content(kind, of, identifier(name), types[name], counts.get(of, ""), f"tercet_taken_{number}")
        for number, ((kind, of), name) in enumerate(rollup.stored.items())
    )
