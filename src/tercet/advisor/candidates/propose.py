"""Thinks of indexes for a workload: kind by kind, scan by scan, then weighed, compared with what is there, and cut."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from math import fsum
from typing import TYPE_CHECKING

from tercet.advisor.candidate import Candidate, index_name
from tercet.advisor.candidates.draft import SHARE_MAX, Around, Made
from tercet.advisor.candidates.every import CANDIDATES
from tercet.advisor.candidates.kinds.covering import narrow
from tercet.advisor.candidates.roles.scans import scans
from tercet.advisor.candidates.same import begins, said_by, serves
from tercet.errors import SchemaInvalid
from tercet.sql import Index
from tercet.sql.identifier import NAME_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tercet.advisor.candidates.draft import Draft
    from tercet.advisor.candidates.roles.scan import Scan
    from tercet.advisor.catalog import Catalog, Qualified, Standing, Table
    from tercet.advisor.query import Query

# What a person would try for one statement by hand, several times over; each costs an engine milliseconds.
PER_QUERY_MAX = 24
# An engine makes that many known in a few seconds, and a search over more finds nothing better in its time.
ALL_MAX = 600
# The planner reads so few pages in one go; an index of them is one page more.
TINY_PAGES = 8
# A page that is reached through an index costs about so much more than one of a row of them.
_STRAY = 4.0
# What each further key and column costs in promise: of two that find the same rows, the smaller is tried first.
_PER_KEY, _PER_COLUMN = 0.03, 0.01
# What is found once for each row of another table; how many that are, only a planner can tell.
_REPEATED_SHARE = 0.1
# Of an ordered index under a LIMIT, the beginning is read.
_FIRST_SHARE = 0.02
# A covering index is read instead of the table, and is so much smaller at least.
_COVERED = 0.5
_DIGITS = 6


@dataclass(slots=True)
class _Thought:
    """A draft with those for which it was made, and what it promises."""

    index: Index
    # What makes it, by which two are told apart.
    ddl: str
    draft: Draft
    kind: str
    table: Table
    why: str
    replaces: tuple[str, ...] = ()
    promise: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    # What it does for each statement.
    reasons: dict[str, str] = field(default_factory=dict)
    # Whether it gives an order of which one of them reads the beginning.
    ordered: bool = False

    @property
    def total(self) -> float:
        return fsum(self.promise.values())

    @property
    def rank(self) -> tuple[float, str]:
        return -self.total, self.ddl


def propose(queries: Sequence[Query], catalog: Catalog) -> tuple[Candidate, ...]:
    """The indexes that might help these statements, the most promising first; the same answer each time.

    None that is there already, nor begins one that is there. At most 24 for each statement, and 600 in all.
    Whether they help only a planner can tell. A statement that cannot be resolved has none.
    """
    by_table: dict[Qualified, list[Scan]] = defaultdict(list)
    for query in queries:
        for scan in scans(query, catalog):
            if _worthy(scan):
                by_table[scan.table.name].append(scan)
    thoughts: dict[str, _Thought] = {}
    for found in by_table.values():
        # The heaviest first, and in an order of their own: what is cut does not hang on the order of the statements.
        ranked = sorted(found, key=lambda scan: (-scan.weight, scan.query))
        for thought in _of_table(ranked, catalog):
            _add(thoughts, thought)
    due = [kept for one in thoughts.values() if (kept := _beside(one)) is not None]
    return tuple(_named(_cut(due), catalog))


def _worthy(scan: Scan) -> bool:
    """Whether an index could save anything: a table of some pages, and more than the one row of a unique key."""
    table = scan.table
    if table.kind == "f" or table.persistence == "t" or 0 <= table.pages <= TINY_PAGES:
        return False
    known = {one.term.of for one in scan.equal if one.test in {"equal", "any"}}
    return not any(set(columns) <= known for columns in table.unique_keys)


def _of_table(found: Sequence[Scan], catalog: Catalog) -> Iterator[_Thought]:
    made: dict[Draft, set[str]] = defaultdict(set)
    whys: dict[Draft, str] = {}
    table, around = found[0].table, Around.of(catalog, found)
    for scan in found:
        drafted: list[Draft] = []
        for kind in CANDIDATES:
            for draft in kind.of_scan(scan, replace(around, made=tuple(drafted))) if kind.of_scan else ():
                if draft in drafted or not draft.keys:
                    continue
                drafted.append(draft)
                if _due(draft, scan):
                    bare = replace(draft, why="")
                    made[bare].add(scan.query)
                    whys.setdefault(bare, draft.why)
                    yield from _thought(draft, kind.name, catalog.tables[draft.table or table.name], {scan.query: scan})
    by_query = {scan.query: scan for scan in found}
    for kind in CANDIDATES:
        listed = [Made(replace(draft, why=whys[draft]), frozenset(queries)) for draft, queries in made.items()]
        for one in kind.of_table(table, listed, catalog) if kind.of_table else ():
            yield from _thought(one.draft, kind.name, table, {query: by_query[query] for query in sorted(one.queries)})


def _due(draft: Draft, scan: Scan) -> bool:
    """Whether it finds few enough rows, or gives what is worth reading many."""
    if draft.share <= SHARE_MAX or draft.repeated or draft.ordered:
        return True
    return draft.covers(scan.used) and narrow(scan, (*draft.columns, *draft.include))


def _thought(draft: Draft, kind: str, table: Table, scans_: Mapping[str, Scan]) -> Iterator[_Thought]:
    numbers = {column.name: column.number for column in table.columns}
    include = tuple(sorted(draft.include, key=lambda name: numbers.get(name, 0)))
    try:
        index = Index(
            "x", table.name, draft.keys, include, draft.where, unique=draft.unique, method=draft.method
        )  # fmt: skip
    except SchemaInvalid:  # a name or a combination that no index can have
        return
    thought = _Thought(index, index.create(), draft, kind, table, draft.why)
    for query, scan in scans_.items():
        thought.promise[query] += _promise(draft, scan)
        thought.reasons[query] = draft.why
        thought.ordered |= draft.ordered and scan.limited
    yield thought


def _promise(draft: Draft, scan: Scan) -> float:
    """The share of the statement's weight that it could save at best."""
    share = max(draft.share, _REPEATED_SHARE) if draft.repeated else draft.share
    if draft.ordered and scan.limited:
        share *= _FIRST_SHARE
    read = min(1.0, share * (_COVERED if draft.covers(scan.used) else _STRAY))
    price = _PER_KEY * len(draft.keys) + _PER_COLUMN * len(draft.include)
    return scan.weight * max(0.0, 1.0 - read) * max(0.1, 1.0 - price)


def _add(thoughts: dict[str, _Thought], thought: _Thought) -> None:
    """Of two that make the same index, the first is kept, with what the other promises."""
    same = thoughts.setdefault(thought.ddl, thought)
    same.ordered |= thought.ordered
    if same is not thought:
        for query, promise in thought.promise.items():
            same.promise[query] = max(same.promise[query], promise)
            same.reasons.setdefault(query, thought.reasons[query])


def _beside(thought: _Thought) -> _Thought | None:
    """The thought beside the indexes that are there: none if one of them does it, else what it makes needless."""
    wanted, replaces = thought.index, []
    for one in thought.table.indexes:
        if one.valid and (_done(one, thought)):
            return None
        if not one.valid and serves(one.index, wanted) and serves(wanted, one.index):
            replaces.append(one.index.name)
            broken = f"; {one.index.name} is this index, but invalid: rebuild it or drop it"
            thought.why += broken
            thought.reasons = {query: f"{why}{broken}" for query, why in thought.reasons.items()}
        elif one.valid and not one.needed and not one.index.unique and _contained(one.index, wanted):
            replaces.append(one.index.name)
    thought.replaces = tuple(sorted(replaces))
    return thought


def _done(standing: Standing, thought: _Thought) -> bool:
    there, wanted = standing.index, thought.index
    if serves(there, wanted):
        return True
    if wanted.method in {"hash", "brin"} and there.method == "btree" and there.where is None:
        return there.keys[0].of == wanted.keys[0].of
    if wanted.where is not None:
        whole = replace(wanted, where=None)
        names = {key.of for key in there.keys if isinstance(key.of, str)} - set(thought.draft.columns)
        constants = frozenset(name for name in names if f"{name}" in (wanted.where or ""))
        return (there.where is None and serves(there, whole)) or said_by(there, wanted, constants)
    # Behind a unique key there is one row: no further key finds fewer.
    unique = there.unique and there.where is None and there.method == wanted.method == "btree"
    return unique and begins(wanted.keys, there.keys)


def _contained(there: Index, wanted: Index) -> bool:
    """Whether the wanted one would do all that the other does."""
    return serves(wanted, there)


def _cut(due: Sequence[_Thought]) -> list[_Thought]:
    """The most promising of each statement; where all are too many, what comes first for some statement stays."""
    per_query: dict[str, list[_Thought]] = defaultdict(list)
    due = sorted(due, key=lambda one: one.rank)
    for thought in due:
        for query in thought.promise:
            per_query[query].append(thought)
    # The best place that each has among those of a statement.
    places: dict[int, int] = {}
    for query, found in per_query.items():
        best = sorted(found, key=lambda one: -one.promise[query])
        for place, one in enumerate(best[:PER_QUERY_MAX]):
            places[id(one)] = min(place, places.get(id(one), place))
    kept = sorted((one for one in due if id(one) in places), key=lambda one: places[id(one)])
    return sorted(kept[:ALL_MAX], key=lambda one: one.rank)


def _named(found: Iterable[_Thought], catalog: Catalog) -> Iterator[Candidate]:
    taken = {one.index.name for table in catalog.tables.values() for one in table.indexes}
    taken |= {name for _, name in catalog.tables}
    for thought in found:
        name = index_name(thought.index)
        if name in taken:
            name = _told_apart(name, thought.index)
        taken.add(name)
        index = replace(thought.index, name=name)
        queries = frozenset(thought.promise)
        reasons = tuple(sorted(thought.reasons.items()))
        yield Candidate(index, thought.kind, thought.why, queries, thought.replaces, reasons, thought.ordered)


def _told_apart(name: str, index: Index) -> str:
    """The name with a few digits of what the index is, where another table or an older index has it."""
    digits = hashlib.sha256(index.create().encode()).hexdigest()[:_DIGITS]
    stem = name.removesuffix("_idx").encode()[: NAME_BYTES_MAX - _DIGITS - len("__idx")]
    return f"{stem.decode(errors='ignore')}_{digits}_idx"
