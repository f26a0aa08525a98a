"""The publication that a feed reads: what is missing of it, without narrowing what others read of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tercet.changes.setup.findings import COLUMN_LISTS, PUBLICATION, place_of
from tercet.changes.setup.step import Problem, Step
from tercet.errors import FeedRefused
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.changes.change import Wants
    from tercet.changes.setup.findings import Findings, Publication, Published, Table

    # A table, and the columns to be published of it; None is all of them.
    Wanted: TypeAlias = tuple[Table, frozenset[str] | None]

_LOCK = "SHARE UPDATE EXCLUSIVE on {tables}: nobody who reads or writes waits, other DDL does."
_NO_LOCK = "Locks no table."

_KINDS = "insert, update, delete, truncate"


def columns_of(
    findings: Findings, table: Table, wanted: frozenset[str] | None, covered: frozenset[str], has: Published | None
) -> frozenset[str] | None:
    """The columns to be published; None for all of them.

    A list spares the rest of wide rows, and is only made where it covers the identity: PostgreSQL refuses every
    UPDATE of a table whose published columns do not. One that is there is widened, for somebody reads it.
    """
    if wanted is None or findings.server.number < COLUMN_LISTS or (has is not None and has.columns is None):
        return None
    columns = wanted | covered | frozenset(table.primary) | frozenset(has.columns or () if has else ())
    return None if columns >= table.plain_columns else columns


def widened(found: Publication, wanted: Sequence[Wanted]) -> Iterator[Step | Problem]:
    """What makes it tell more columns of the tables that it has; to be done before their identities grow."""
    if found.all_tables:
        return
    name = identifier(found.name)
    for table, columns in wanted:
        has = _has(found, table)
        if has is None:
            continue
        if has.filter is not None:
            says = f"the publication {found.name} tells only the rows of it where {has.filter}"
            mend = "Take the condition away, or give this feed a publication of another name."
            yield Problem(str(table), says, mend)
        elif has.columns is not None and (columns is None or not columns <= frozenset(has.columns)):
            # The list of one table can only be replaced by taking the table out; in one transaction nobody notices.
            statements = (
                f"alter publication {name} drop table {identifier(table.place)}",
                f"alter publication {name} add table {_listed(table, columns)}",
            )
            yield Step(f"publish more columns of {table}", statements, _locks([table]))


def published(findings: Findings, name: str, wanted: Sequence[Wanted], *, everything: bool) -> Iterator[Step | Problem]:
    """What makes the publication tell these tables; to be done once they have the identities that it needs."""
    found = findings.publication(name)
    if found is None:
        yield _created(findings, name, wanted, everything=everything)
        return
    quoted = identifier(found.name)
    if not (found.insert and found.update and found.delete and found.truncate):
        statement = f"alter publication {quoted} set (publish = '{_KINDS}')"
        yield Step(f"let {name} tell every kind of change", (statement,), _NO_LOCK)
    if not found.via_root and any(table.form == "partitioned" for table, _ in wanted):
        statement = f"alter publication {quoted} set (publish_via_partition_root = true)"
        yield Step(f"let {name} tell partitions as their table", (statement,), _NO_LOCK)
    added = [] if found.all_tables else [one for one in wanted if _has(found, one[0]) is None]
    if added:
        statement = f"alter publication {quoted} add table {_list(added)}"
        yield Step(f"publish {_names(added)}", (statement,), _locks([table for table, _ in added]))


def untold(findings: Findings, wants: Wants, name: str = PUBLICATION) -> FeedRefused | None:
    """What of these wants the publication would never tell, as an error with its mend; None where it tells all.

    A table that is not there yet is none of them, nor is anything where there is no publication at all.
    """
    found = findings.publication(name)
    for written, columns in wants.tables.items():
        table = findings.tables.get(place_of(written))
        if found is None or table is None:
            continue
        # Whoever wants all columns takes those that are told.
        wanted = [(table, columns or frozenset())]
        lacking = [*widened(found, wanted), *published(findings, name, wanted, everything=False)]
        if lacking:
            says = "; ".join(one.says if isinstance(one, Step) else str(one) for one in lacking)
            listed = f":{','.join(sorted(columns))}" if columns else ""
            return FeedRefused(
                "postgres",
                reason=f"of {table} it would not tell all that is wanted, and nobody would notice (to do: {says})",
                mend=f"Set it up: tercet doctor --setup '{table}{listed}' --apply",
            )
    return None


def _created(findings: Findings, name: str, wanted: Sequence[Wanted], *, everything: bool) -> Step:
    if not wanted:
        statement = f"create publication {identifier(name)} with (publish_via_partition_root = true)"
        return Step("publish messages alone", (statement,), _NO_LOCK)
    every = everything and findings.server.superuser
    what = "for all tables" if every else f"for table {_list(wanted)}"
    lock = _NO_LOCK if every else _locks([table for table, _ in wanted])
    statement = f"create publication {identifier(name)} {what} with (publish_via_partition_root = true)"
    return Step(f"publish {'all tables' if every else _names(wanted)}", (statement,), lock)


def _has(found: Publication, table: Table) -> Published | None:
    """How it has the table; a partitioned one that is told by its leaves counts as there."""
    if (has := found.of(table)) is not None:
        return has
    leaves = [found.of(leaf) for leaf in table.leaves]
    return next((leaf for leaf in leaves if leaf is not None), None) if leaves and all(leaves) else None


def _listed(table: Table, columns: frozenset[str] | None) -> str:
    name = identifier(table.place)
    if columns is None:
        return name
    # In the order of the table, so that the same wants write the same text.
    return f"{name} ({', '.join(identifier(column) for column in table.columns if column in columns)})"


def _list(wanted: Sequence[Wanted]) -> str:
    return ", ".join(_listed(table, columns) for table, columns in wanted)


def _names(wanted: Sequence[Wanted]) -> str:
    return ", ".join(str(table) for table, _ in wanted)


def _locks(tables: Sequence[Table]) -> str:
    return _LOCK.format(tables=", ".join(map(str, tables)))
