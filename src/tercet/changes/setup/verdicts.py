"""What is well with a PostgreSQL and its feeds, and what is not: one sentence each, the mend behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.changes.setup.findings import PUBLICATION
from tercet.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.changes.setup.choose import Choice
    from tercet.changes.setup.findings import Findings, Publication, Slot, Table

Level = Literal["ok", "warn", "bad"]

# So much log that is kept for a slot which nobody reads is worth a word: a small disk holds some ten times that.
KEPT_BYTES = 1 << 30
# Tables that are named in one line.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was looked at."""

    store: str
    level: Level
    says: str
    mend: str = ""


def verdicts(findings: Findings, choice: Choice, *, publication: str = PUBLICATION) -> tuple[Verdict, ...]:
    """On the server, the feed that it gives, its slots, the publication, and tables that take no UPDATE."""
    return (
        _server(findings),
        _feed(choice),
        *_slots(findings),
        *_publication(findings, choice, publication),
        *_refused(findings),
    )


def _of(level: Level, says: str, mend: str = "") -> Verdict:
    return Verdict("postgres", level, says, mend)


def _server(findings: Findings) -> Verdict:
    server = findings.server
    role = "replica" if server.replica else "primary"
    pooled = ", behind a pooler" if server.pooled else ""
    return _of("ok", f"PostgreSQL {server.version}, {role}, as {server.login}{pooled}")


def _feed(choice: Choice) -> Verdict:
    mend = " ".join(choice.against)
    if choice.kind is None:
        return _of("bad", f"no feed of changes: {choice.why}", mend)
    return _of("ok" if choice.kind == "stream" else "warn", f"feed by {choice.kind}: {choice.why}", mend)


def _slots(findings: Findings) -> Iterator[Verdict]:
    server = findings.server
    durable = [slot for slot in findings.slots if not slot.temporary]
    for slot in durable:
        yield _slot(slot)
    if server.wal_level == "logical" and server.keep_bytes is None:
        level: Level = "warn" if durable else "ok"
        yield _of(
            level,
            "max_slot_wal_keep_size is not set: a slot that nobody reads would fill the disk with log",
            "Set it to what the disk can spare (alter system set max_slot_wal_keep_size = '10GB'; reload).",
        )


def _slot(slot: Slot) -> Verdict:
    name = f"slot {slot.name}"
    kept = size(slot.kept_bytes or 0)
    drop = (
        f"Let its reader run, or drop it: select pg_drop_replication_slot('{slot.name.replace(chr(39), chr(39) * 2)}')."
    )
    if slot.wal_status == "lost":
        return _of("bad", f"{name} was cut off: its reader must begin anew", drop)
    if slot.wal_status == "unreserved":
        return _of("bad", f"{name} is about to be cut off: {kept} of log are more than it may hold back", drop)
    if not slot.active and (slot.kept_bytes or 0) >= KEPT_BYTES:
        return _of("warn", f"{name} is read by nobody and holds back {kept} of log", drop)
    reader = "is being read" if slot.active else "is read by nobody right now"
    return _of("ok", f"{name} {reader}, {size(slot.lag_bytes or 0)} behind, holds back {kept} of log")


def _publication(findings: Findings, choice: Choice, name: str) -> Iterator[Verdict]:
    found = findings.publication(name)
    if choice.kind == "triggers":
        followed = [table for table in findings.tables.values() if table.triggers]
        if followed:
            yield _of("ok", f"triggers tell the changes of {_named(followed)}")
        else:
            yield _of("warn", "no table has triggers that tell its changes", _SETUP)
    elif found is None:
        yield _of("warn", f"there is no publication {name}: no feed can begin", _SETUP)
    elif found.all_tables:
        yield _of("ok", f"publication {name} tells all tables")
    else:
        followed = [table for table in findings.tables.values() if _has(found, table)]
        yield _of("ok", f"publication {name} tells {_named(followed) or 'no table'}")


_SETUP = "Make one: tercet doctor --setup TABLE:COLUMN,… --apply"


def _refused(findings: Findings) -> Iterator[Verdict]:
    """Tables whose UPDATEs and DELETEs PostgreSQL refuses right now, because of what publishes them."""
    for publication in findings.publications:
        if not publication.needs_identity:
            continue
        for root in findings.tables.values():
            for table in root.holders:
                if why := _why_refused(publication, root, table):
                    mend = f"tercet doctor --setup {root} (or alter publication … drop table)"
                    yield _of("bad", f"PostgreSQL refuses UPDATE and DELETE on {table}: {why}", mend)


def _why_refused(publication: Publication, root: Table, table: Table) -> str | None:
    has = publication.of(table, root)
    if has is None:
        return None
    if not table.covered:
        return f"the publication {publication.name} needs its replica identity, and it has none"
    if has.columns is not None and (outside := table.covered - frozenset(has.columns)):
        return f"the publication {publication.name} does not list {', '.join(sorted(outside))} of its replica identity"
    return None


def _has(publication: Publication, table: Table) -> bool:
    return any(publication.of(holder, table) is not None for holder in (table, *table.leaves))


def _named(tables: list[Table]) -> str:
    shown = ", ".join(map(str, tables[:_NAMED]))
    return shown + (f" and {len(tables) - _NAMED} more" if len(tables) > _NAMED else "")
