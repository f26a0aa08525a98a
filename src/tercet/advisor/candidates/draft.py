"""An index as one kind thinks of it, before it has a name and is compared with what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.sql import Expression, Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tercet.advisor.candidates.roles.scan import Condition, Scan, Term
    from tercet.advisor.catalog import Catalog, Qualified, Table

# A fifth key hardly ever finds fewer rows, and makes each entry longer.
KEYS_MAX = 4
# A scan that reads a larger share of the rows than this reads nearly every page of the table anyway.
SHARE_MAX = 0.3


@dataclass(frozen=True, slots=True)
class Draft:
    """Keys and what goes with them; of the table's rows, `share` are read through it."""

    keys: tuple[Key, ...]
    why: str
    share: float
    include: tuple[str, ...] = ()
    where: str | None = None
    method: str = "btree"
    unique: bool = False
    # Stands on its own although it finds few rows only: it gives an order under a LIMIT, or needs no heap.
    ordered: bool = False
    # Asked once for each row of another table, so that few rows a time come to many.
    repeated: bool = False
    # Another table than the scan's.
    table: Qualified | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The plain columns among its keys."""
        return tuple(key.of for key in self.keys if isinstance(key.of, str))

    def covers(self, used: frozenset[str] | None) -> bool:
        """Whether all that is needed stands in it."""
        return self.method == "btree" and used is not None and used <= {*self.columns, *self.include}


@dataclass(frozen=True, slots=True)
class Around:
    """What a kind sees besides the scan: the whole database, what all scans of the table ask, and earlier drafts.

    `constants` is the weight of each condition by the term that it is about; None stands for those that change.
    """

    catalog: Catalog
    asked: frozenset[tuple[str | Expression, str]]
    constants: Mapping[str | Expression, Mapping[str | None, float]]
    made: Sequence[Draft] = ()

    @classmethod
    def of(cls, catalog: Catalog, scans: Sequence[Scan]) -> Around:
        """What all scans of one table ask together."""
        asked: set[tuple[str | Expression, str]] = set()
        constants: dict[str | Expression, dict[str | None, float]] = {}
        for scan in scans:
            for one in scan.conditions:
                asked.add((one.term.of, one.test))
                weights = constants.setdefault(one.term.of, {})
                weights[one.sql] = weights.get(one.sql, 0.0) + scan.weight
        return cls(catalog, frozenset(asked), constants)


@dataclass(frozen=True, slots=True)
class Made:
    """A draft of one table with the fingerprints for which it was made."""

    draft: Draft
    queries: frozenset[str]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of index; it looks at each scan, or once at each table with all that was drafted for it."""

    name: str
    of_scan: Callable[[Scan, Around], Iterable[Draft]] | None = None
    of_table: Callable[[Table, Sequence[Made], Catalog], Iterable[Made]] | None = None


def key(term: Term, *, operators: str | None = None) -> Key:
    """The plain key of a term."""
    return Key(term.of, operators=operators)


def keys(*groups: Iterable[Term]) -> tuple[Key, ...]:
    """The keys of terms in their order, each once, as many as an index should have."""
    found: dict[str | Expression, Key] = {}
    for group in groups:
        for term in group:
            found.setdefault(term.of, key(term))
    return tuple(found.values())[:KEYS_MAX]


def terms(conditions: Iterable[Condition]) -> tuple[Term, ...]:
    """What conditions are about."""
    return tuple(one.term for one in conditions)


def joint(conditions: Iterable[Condition], among: Iterable[Key]) -> float:
    """The share of rows that hold all conditions on these keys, as if none had to do with another."""
    held = {key.of for key in among}
    share = 1.0
    for one in conditions:
        if one.term.of in held:
            share *= one.share
    return share


def named(found: Iterable[Term]) -> str:
    """Terms as a sentence lists them."""
    words = [term.sql for term in found]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
