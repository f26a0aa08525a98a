"""Looks over the indexes that are there: what is broken, double, contained in another, unused, or missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.advisor.candidate import index_name
from tercet.advisor.candidates.finding import Finding
from tercet.advisor.candidates.propose import TINY_PAGES
from tercet.advisor.candidates.roles.scans import scans
from tercet.advisor.candidates.same import serves
from tercet.sql import Index, identifier
from tercet.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.candidates.finding import Trouble
    from tercet.advisor.catalog import Catalog, ForeignKey, Qualified, Standing, Table
    from tercet.advisor.query import Query

# A week holds the work of every weekday; what runs once a month is kept in mind by name.
UNUSED_SECONDS = 7 * 86_400.0
# A table that was hardly read tells nothing of its indexes: it may be new, or its counters.
READS_MIN = 100
# Counters that were never reset do not say since when they run; so many reads are more than a day's tries.
READS_UNKNOWN_MIN = 10_000
# What REINDEX CONCURRENTLY leaves of itself where it fails.
_REMAINS = re.compile(r"_cc(new|old)\d*$")


def housekeeping(
    catalog: Catalog, queries: Sequence[Query], *, unused_seconds: float = UNUSED_SECONDS
) -> tuple[Finding, ...]:
    """What is to be done about indexes that are there, table by table; each index is named once.

    Never the drop of one on which a constraint, a foreign key, replica identity or CLUSTER rests, nor of a unique
    one that no other unique one equals. `unused_seconds` is how long counters must have run before none is none.
    """
    found: list[Finding] = []
    for _, table in sorted(catalog.tables.items()):
        named: set[str] = set()
        for one in (*_invalid(table), *_contained(table), *_unused(table, catalog, unused_seconds)):
            if one.index.name not in named:
                named.add(one.index.name)
                found.append(one)
    return (*found, *_foreign_keys(catalog, queries))


def _invalid(table: Table) -> Iterator[Finding]:
    for one in table.indexes:
        if one.valid or one.parent is not None:
            continue
        instead = tuple(other.index.name for other in table.indexes if other.valid and serves(other.index, one.index))
        minded = ("a build that is under way looks the same: pg_stat_progress_create_index tells",)
        if table.kind == "p":
            why = f"{one.index.name} is invalid: not every partition has its part of it"
            steps = "for each partition: create its index concurrently, then alter index … attach partition"
            yield Finding("invalid", "rebuild", table.name, one.index, why, (*minded, steps))
        elif not one.needed and (instead or _REMAINS.search(one.index.name)):
            why = f"{one.index.name} is invalid: it is written to and never read, and {_remains(instead)}"
            yield _drop("invalid", table, one, why, minded, instead)
        else:
            why = f"{one.index.name} is invalid: it is written to and never read, since its build has failed"
            ddl = (f"reindex index concurrently {one.index.qualified}",)
            yield Finding("invalid", "rebuild", table.name, one.index, why, minded, ddl)


def _remains(instead: tuple[str, ...]) -> str:
    return f"{instead[0]} does its work" if instead else "a REINDEX has left it behind"


def _contained(table: Table) -> Iterator[Finding]:
    """Duplicates, and those that begin another one; of equal ones the one stays on which most rests."""
    # The first of equal ones stays.
    ranked = sorted(
        (one for one in table.indexes if one.valid),
        key=lambda one: (not one.needed, not one.index.unique, -one.scans, one.oid),
    )
    gone: set[int] = set()
    for at in range(len(ranked) - 1, -1, -1):
        one = ranked[at]
        if one.needed or one.parent is not None:
            continue
        for other in ranked:
            if other is one or other.oid in gone or not _does(other, one):
                continue
            equal = len(one.index.keys) == len(other.index.keys) and set(one.index.include) == set(other.index.include)
            if equal and ranked.index(other) > at:
                continue
            gone.add(one.oid)
            yield _double(table, one, other, equal=equal)
            break


def _does(other: Standing, one: Standing) -> bool:
    """Whether the one does all that the other is there for, its rule too."""
    if one.index.unique and not (other.index.unique and other.nulls_distinct == one.nulls_distinct):
        return False
    return serves(other.index, one.index)


def _double(table: Table, one: Standing, other: Standing, *, equal: bool) -> Finding:
    minded = [f"{other.index.name} has the same method, operators, order and condition"]
    if one.index.unique:
        minded.append("both are unique")
    if equal:
        why = f"{one.index.name} is the same as {other.index.name}"
        return _drop("duplicate", table, one, why, tuple(minded), (other.index.name,))
    minded.append(f"{other.index.name} is larger: {size(other.size_bytes)} against {size(one.size_bytes)}")
    why = f"{other.index.name} begins with the columns of {one.index.name} and does its work too"
    return _drop("redundant", table, one, why, tuple(minded), (other.index.name,))


def _unused(table: Table, catalog: Catalog, seconds: float) -> Iterator[Finding]:
    # Its counters tell what was read there, and not what is read on its primary.
    if catalog.standby:
        return
    activity = table.activity
    reads = activity.sequential_scans + activity.index_scans
    known = activity.seconds > 0
    enough = READS_MIN if known else READS_UNKNOWN_MIN
    if (known and activity.seconds < seconds) or (table.kind != "p" and reads < enough):
        return
    span = f"{activity.seconds / 86_400:.0f} days" if known else "all the time that was counted"
    for one in table.indexes:
        if not one.valid or one.needed or one.index.unique or one.parent is not None or _scans(one, table, catalog):
            continue
        why = f"{one.index.name} was not read once in {span}, while the table was read {reads} times"
        minded = (
            "nothing rests on it: no constraint, foreign key, replica identity or CLUSTER",
            "replicas count where they were asked",
            "work that runs once a month or a year may not have come by yet",
        )
        yield _drop("unused", table, one, why, minded)


def _scans(one: Standing, table: Table, catalog: Catalog) -> int:
    """Its scans, and those of its parts in the partitions."""
    total = one.scans
    for name in table.partitions:
        part = catalog.tables.get(name)
        for inner in part.indexes if part is not None else ():
            if part is not None and inner.parent == one.oid:
                total += _scans(inner, part, catalog)
    return total


def _drop(
    kind: Trouble, table: Table, one: Standing, why: str, minded: tuple[str, ...], instead: tuple[str, ...] = ()
) -> Finding:
    # A partitioned index can be dropped, and made, only in one go.
    concurrently = table.kind != "p"
    undo = one.definition
    if concurrently:
        undo = re.sub(r"^CREATE (UNIQUE )?INDEX ", r"CREATE \1INDEX CONCURRENTLY ", undo)
    return Finding(
        kind, "drop", table.name, one.index, why, minded,
        ddl=(one.index.drop(concurrently=concurrently),), undo=(undo,), instead=instead, size_bytes=one.size_bytes,
    )  # fmt: skip


def _foreign_keys(catalog: Catalog, queries: Sequence[Query]) -> Iterator[Finding]:
    """Foreign keys whose referencing side has no index, where somebody looks there."""
    # Which column of which table is compared where which other table is read.
    joined: set[tuple[Qualified, str, Qualified]] = set()
    deleted: set[str] = set()
    for query in queries:
        found = list(scans(query, catalog))
        others = {scan.table.name for scan in found}
        for scan in found:
            names = {name for link in scan.links for one in link.terms for name in one.columns}
            joined |= {(scan.table.name, name, other) for name in names for other in others}
        if query.statement.kind == "delete":
            deleted |= set(query.statement.writes)
    for _, table in sorted(catalog.tables.items()):
        if table.parent is not None or table.kind == "f" or 0 <= table.pages <= TINY_PAGES:
            continue
        for one in table.foreign_keys:
            reason = _looked_at(one, table, catalog, joined, deleted)
            if reason and not _led(table, one):
                yield _lacking(table, one, reason)


def _looked_at(
    one: ForeignKey, table: Table, catalog: Catalog, joined: set[tuple[Qualified, str, Qualified]], deleted: set[str]
) -> str:
    target = catalog.tables.get(one.target)
    if target is not None and target.activity.deleted:
        return (
            f"{target.activity.deleted} rows of {one.target[1]} were deleted, and each looked through {table.name[1]}"
        )
    if {one.target[1], ".".join(one.target), identifier(one.target[1]), identifier(one.target)} & deleted:
        return f"a statement deletes from {one.target[1]}, and each row looks through {table.name[1]}"
    if all((table.name, column, one.target) in joined for column in one.columns):
        return f"statements join {table.name[1]} by it"
    return ""


def _led(table: Table, one: ForeignKey) -> bool:
    """Whether an index begins with the columns of the foreign key, in whatever order."""
    columns = set(one.columns)
    filled = {f"{identifier(name)} IS NOT NULL" for name in columns} | {f"({name} IS NOT NULL)" for name in columns}
    return any(
        standing.valid
        and standing.index.method in {"btree", "hash"}
        and (standing.index.where is None or (len(columns) == 1 and standing.index.where in filled))
        and {key.of for key in standing.index.keys[: len(columns)]} == columns
        for standing in table.indexes
    )


def _lacking(table: Table, one: ForeignKey, reason: str) -> Finding:
    index = Index("x", table.name, tuple(one.columns))
    index = Index(index_name(index), table.name, tuple(one.columns))
    minded = ("the referenced side has its own index", "an update of other columns than the key looks nowhere")
    why = f"foreign key {one.name} has no index on {', '.join(one.columns)}: {reason}"
    concurrently = table.kind != "p"
    return Finding(
        "foreign_key", "create", table.name, index, why, minded,
        ddl=(index.create(concurrently=concurrently),), undo=(index.drop(concurrently=concurrently),),
    )  # fmt: skip
