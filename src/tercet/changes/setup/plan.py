"""The plan: from what is there and what is wanted to the DDL, or to a clear no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.changes.setup.choose import Kind, choose
from tercet.changes.setup.findings import PUBLICATION, place_of
from tercet.changes.setup.identity import Aim, absent, aim, breaks_others, checked
from tercet.changes.setup.publication import columns_of, published, widened
from tercet.changes.setup.step import Problem, Step
from tercet.changes.setup.triggers import change_table, installed
from tercet.errors import FeedRefused, PublicationUnsafe

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tercet.changes.change import Wants
    from tercet.changes.setup.findings import Findings, Form, Place, Table

_UNLOGGED = "an unlogged table leaves no trace in the log"
_REFUSED: dict[Form, tuple[str, str]] = {
    "unlogged": (_UNLOGGED, "Let it be logged (alter table … set logged), or follow it by triggers."),
    "temporary": ("a temporary table is seen by one connection only", "Follow an ordinary table."),
    "foreign": ("a foreign table's changes happen elsewhere", "Follow it where it lives."),
    "view": ("a view has no changes of its own", "Follow the tables that it reads."),
}


def plan(
    findings: Findings,
    wants: Wants,
    *,
    feed: Kind | None = None,
    publication: str = PUBLICATION,
    old: Mapping[str, Collection[str]] | None = None,
    full: Collection[str] = (),
) -> tuple[Step, ...]:
    """The steps after which a feed with these wants works, in their order; none where all is there.

    A column that is wanted by name is wanted of old rows, too, unless `old` says which of the table are: the replica
    identity is widened to it, by an index, which writes some 5 % more log, where the whole old row would write 60 %
    more. Tables named in `full` tell the whole old row nevertheless. `feed` is what `choose` says, unless it is given.

    Raises PublicationUnsafe with all problems at once, FeedRefused where the server can give no feed at all.
    """
    if feed is None:
        choice = choose(findings)
        if choice.kind is None:
            raise FeedRefused("postgres", reason=" ".join(choice.against).rstrip("."), mend=choice.why)
        feed = choice.kind
    missing = [name for name in wants.tables if name != "*" and place_of(name) not in findings.tables]
    found: list[Step | Problem] = [absent(name) for name in missing]
    if feed == "triggers":
        found += _by_triggers(findings, wants)
    else:
        found += _by_log(findings, wants, checked(publication), _olden(old), frozenset(full))
    problems = tuple(str(one) for one in found if isinstance(one, Problem))
    if problems:
        raise PublicationUnsafe(problems)
    return tuple(one for one in found if isinstance(one, Step))


def _wanted(findings: Findings, wants: Wants) -> Iterator[tuple[Table, frozenset[str] | None]]:
    """The tables that are there, each with its columns."""
    named = {place_of(name): columns for name, columns in wants.tables.items() if name != "*"}
    for place, table in findings.tables.items():
        if place in named:
            yield table, named[place]
        elif "*" in wants.tables and table.form in {"table", "partitioned"}:
            yield table, wants.tables["*"]


def _by_triggers(findings: Findings, wants: Wants) -> Iterator[Step | Problem]:
    yield from change_table(findings)
    for table, columns in _wanted(findings, wants):
        steps = installed(table, columns)
        if isinstance(steps, Problem):
            yield steps
        else:
            yield from steps


def _olden(old: Mapping[str, Collection[str]] | None) -> dict[Place, frozenset[str]]:
    return {place_of(name): frozenset(columns) for name, columns in (old or {}).items()}


def _by_log(
    findings: Findings, wants: Wants, publication: str, old: Mapping[Place, frozenset[str]], full: frozenset[str]
) -> Iterator[Step | Problem]:
    """In an order in which no UPDATE is refused in between.

    A publication that lists columns needs the new ones before the identity has them, and a table needs its identity
    before it is published.
    """
    there = findings.publication(publication)
    wanted, aims = [], []
    for table, columns in _wanted(findings, wants):
        if table.form in _REFUSED:
            yield Problem(str(table), *_REFUSED[table.form])
            continue
        covered: frozenset[str] = frozenset()
        for holder in table.holders:
            aimed = _aimed(findings, table, holder, old.get(table.place, columns), publication, full)
            if isinstance(aimed, Problem):
                yield aimed
                break
            aims.append(aimed)
            covered |= aimed.covered
        wanted.append((table, columns_of(findings, table, columns, covered, there.of(table) if there else None)))
    if there is not None and not there.ours:
        mend = "Set the feed up as its owner, or give this feed a publication of another name."
        yield Problem(f"publication {publication}", f"it does not belong to {findings.server.login}", mend)
        return
    yield from (aimed.build for aimed in aims if aimed.build)
    if there is not None:
        yield from widened(there, wanted)
    yield from (aimed.switch for aimed in aims if aimed.switch)
    # Who wants no table wants messages, which need a publication of nothing.
    if wanted or not wants.tables:
        yield from published(findings, publication, wanted, everything="*" in wants.tables)


def _aimed(
    findings: Findings,
    table: Table,
    holder: Table,
    columns: Collection[str] | None,
    publication: str,
    full: frozenset[str],
) -> Aim | Problem:
    aimed = aim(holder, columns, full=bool({str(table), str(holder)} & full))
    if isinstance(aimed, Aim) and aimed.switch is not None:
        return breaks_others(findings, table, holder, aimed.covered, publication) or aimed
    return aimed
