"""Replica identities: which old values are told, and which index would make the missing ones be told."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.changes.setup.findings import PUBLICATION, Findings, place_of, written_of
from tercet.changes.setup.step import Problem, Step
from tercet.errors import SchemaInvalid
from tercet.sql import Index, Key, identifier
from tercet.sql.identifier import NAME_BYTES_MAX
from tercet.sql.schema import INDEX_COLUMNS_MAX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tercet.changes.setup.findings import Table

# What ends the name of an index that was made for an identity.
_SUFFIX = "_tercet_identity"

_BUILDS = "SHARE UPDATE EXCLUSIVE on {table} while it is built: nobody who reads or writes waits, other DDL does."
_SWITCHES = "ACCESS EXCLUSIVE on {table} for a moment: everybody waits for that moment, and it for who is in there."


@dataclass(frozen=True, slots=True)
class Aim:
    """The identity that a table is to have: by this index, or whole, or as it is."""

    covered: frozenset[str]
    # The index that it needs, and the switch to it.
    build: Step | None = None
    switch: Step | None = None


def gaps(findings: Findings, wanted: Mapping[str, Collection[str]]) -> tuple[Problem, ...]:
    """Which columns' old values would not be told, table by table, each with the mend.

    Without the old value of a column, a row that moves from one user to another drops only the new one's tags.
    A server without logical decoding tells all old values by its triggers, where these are there.
    """
    found = []
    for name, columns in wanted.items():
        table = findings.tables.get(place_of(name))
        if table is None:
            found.append(absent(name))
            continue
        for holder in table.holders:
            missing = frozenset(columns) - holder.covered
            if missing and not table.triggers:
                found.append(_uncovered(holder, missing, name, columns))
                break
    return tuple(found)


def aim(table: Table, columns: Collection[str] | None, *, full: bool) -> Aim | Problem:
    """The identity with which the old values of these columns are told (None: those of the key are enough)."""
    wanted = frozenset(columns or ())
    unknown = wanted - frozenset(table.columns)
    if unknown:
        names = ", ".join(sorted(unknown))
        return Problem(str(table), f"there is no column {names}", "Correct the name; case counts.")
    if table.covered and wanted <= table.covered:
        return Aim(table.covered)
    if full:
        statement = f"alter table {identifier(table.place)} replica identity full"
        step = Step(f"tell all old values of {table}", (statement,), _SWITCHES.format(table=table))
        return Aim(frozenset(table.columns), switch=step)
    return _by_index(table, wanted)


def _by_index(table: Table, wanted: frozenset[str]) -> Aim | Problem:
    """An index over the wanted columns, those that are covered already, and the primary key that makes it unique."""
    if not table.primary:
        return _keyless(table)
    key = table.primary
    before = sorted((wanted | frozenset(table.index_columns)) - frozenset(key))
    columns = (*before, *key)
    for column in before:
        if problem := _unfit(table, column):
            return problem
    if len(columns) > INDEX_COLUMNS_MAX:
        return Problem(
            str(table),
            f"an index takes {INDEX_COLUMNS_MAX} columns, and {len(columns)} are wanted",
            f"Want fewer, or let all old values be told: full={{{str(table)!r}}} (--full {table}).",
        )
    index = Index(_name(table, columns), table.place, tuple(Key(column) for column in columns), unique=True)
    build = Step(
        f"an index for the old values of {', '.join(before) or 'the key'} of {table}",
        (index.create(concurrently=True),),
        _BUILDS.format(table=table),
        alone=True,
        index=(table.place[0], index.name),
    )
    statement = f"alter table {identifier(table.place)} replica identity using index {identifier(index.name)}"
    switch = Step(f"tell the old values that it covers of {table}", (statement,), _SWITCHES.format(table=table))
    return Aim(frozenset(columns), build, switch)


def _name(table: Table, columns: tuple[str, ...]) -> str:
    """A name that says what it is for, and another one where the columns are others."""
    mark = hashlib.blake2b("\0".join(columns).encode(), digest_size=4).hexdigest()
    room = NAME_BYTES_MAX - len(_SUFFIX) - len(mark) - 1
    return f"{table.place[1].encode()[:room].decode(errors='ignore')}{_SUFFIX}_{mark}"


def _unfit(table: Table, column: str) -> Problem | None:
    known, name = table.columns[column], identifier(column)
    if known.generated:
        return Problem(
            str(table), f"{column} is a generated column, which can be part of no identity", "Want what it is made of."
        )
    if not known.not_null:
        return Problem(
            str(table),
            f"{column} may be NULL, and no index with such a column can be a replica identity",
            f"Make it not null (alter table {identifier(table.place)} alter column {name} set not null; with a "
            f"validated check (... is not null) before it, nobody waits for the scan), "
            f"or let all old values be told, which writes more log: full={{{str(table)!r}}} (--full {table}).",
        )
    return None


def _keyless(table: Table) -> Problem:
    return Problem(
        str(table),
        "it has no primary key, so PostgreSQL would refuse its UPDATEs and DELETEs once it is published",
        f"Give it one, or let all old values be told, which writes more log: full={{{str(table)!r}}} (--full {table}).",
    )


def absent(name: str) -> Problem:
    """A wanted table that was not found."""
    place = place_of(name)
    return Problem(written_of(place), "there is no such table", "Correct the name; case counts.")


def _uncovered(table: Table, missing: frozenset[str], name: str, columns: Collection[str]) -> Problem:
    plural = "s" if len(missing) > 1 else ""
    return Problem(
        str(table),
        f"the old value{plural} of {', '.join(sorted(missing))} would not be told",
        f"Widen its replica identity: tercet doctor --setup {name}:{','.join(sorted(columns))}",
    )


def breaks_others(findings: Findings, root: Table, holder: Table, covered: Iterable[str], ours: str) -> Problem | None:
    """What another publication would do to the table's UPDATEs if its identity became this one."""
    covered = frozenset(covered)
    for publication in findings.publications:
        has = publication.of(holder, root)
        if publication.name == ours or has is None or not publication.needs_identity:
            continue
        if has.columns is not None and not covered <= frozenset(has.columns):
            outside = ", ".join(sorted(covered - frozenset(has.columns)))
            return Problem(
                str(root),
                f"the publication {publication.name} does not list {outside}, so PostgreSQL would refuse the table's "
                "UPDATEs once these are part of its identity",
                f"Add them to its list, or take the table out of {publication.name}.",
            )
        if has.filter is not None and (named := _named(has.filter, holder) - covered):
            return Problem(
                str(root),
                f"the publication {publication.name} filters rows by {', '.join(sorted(named))}, which the new "
                "identity would not cover, so PostgreSQL would refuse the table's UPDATEs",
                "Want these columns, too.",
            )
    return None


def _named(condition: str, table: Table) -> frozenset[str]:
    """The table's columns that a condition seems to name; one too many does no harm."""
    return frozenset(column for column in table.columns if column in condition)


def checked(name: str) -> str:
    """The name of a publication or slot, as it can be quoted; raises SchemaInvalid."""
    if not name:
        raise SchemaInvalid("A publication", reason="its name is empty", mend=f"Call it {PUBLICATION!r}.")
    identifier(name)
    return name
