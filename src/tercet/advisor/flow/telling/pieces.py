"""Each piece of advice as a value: what does it, what takes it back, what it costs, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Piece
from tercet.advisor.candidates import extensions
from tercet.advisor.flow.stand import table_of
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.advice import Rewrite
    from tercet.advisor.caching import CacheCandidate
    from tercet.advisor.candidates import Finding
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.choice import Dropped, Picked, WriteCost
    from tercet.advisor.flow.draft import Draft
    from tercet.advisor.port import Supposed
    from tercet.advisor.verify.change import Held
    from tercet.advisor.views import Policy, ViewCandidate
    from tercet.sql import Index

# Said of an index of a partitioned table.
_WHOLE = (
    "a partitioned table takes none concurrently: this statement holds up those who write to it while it runs, and "
    "tercet advise --apply builds it part by part without that"
)


def index_piece(one: Picked, held: Held | None, catalog: Catalog, *, scale: float = 1.0) -> Piece:
    """An index to make, and before it what it rests on; its size as it was built, if it was."""
    index, cost = one.candidate.index, one.write_cost
    helps = held.helps if held is not None and held.helps else one.helps
    why = f"{one.candidate.why}{_lost(cost)}"
    if one.fragile:
        why += f"; fragile: {'; '.join(one.fragile)}"
    if held is not None and held.state == "unproved":
        why += f"; not proved: {held.why}"
    built = held.size_bytes if held is not None else 0
    table = table_of(index, catalog)
    whole = table is not None and catalog.tables[table].kind == "p"
    if whole:
        why += f"; {_WHOLE}"
    return Piece(
        "index", why,
        (*(f"{each};" for each in extensions(index, catalog)), f"{index.create(concurrently=not whole)};"),
        (f"{index.drop(concurrently=not whole)};",), dotted(index), keys(index),
        tuple(index.include), index.where, index.method,
        round(built * scale) if built else one.supposed.size_bytes,
        # An index makes no write cheaper: what was measured below zero is noise.
        max(held.insert_percent, 0.0) if held is not None and held.insert_percent is not None else cost.percent,
        None, tuple(helps), one.rejected, bool(one.fragile), index,
    )  # fmt: skip


def rebuilt_piece(one: Finding, piece: Piece) -> Piece:
    """An index that is there and broken, built anew in place of a new one that would be the same."""
    return replace(
        finding_piece(one), size_bytes=piece.size_bytes, write_cost=None, helps=piece.helps, rejected=piece.rejected
    )


def drop_piece(one: Dropped, finding: Finding | None) -> Piece:
    """An index that is not needed; its way back is its own definition where that is known."""
    index = one.standing.index
    minded = f" ({'; '.join(finding.minded)})" if finding is not None and finding.minded else ""
    ddl, undo = (finding.ddl, finding.undo) if finding is not None else ((index.drop(),), (index.create(),))
    return Piece(
        "drop_index", f"{one.why}{minded}", _ended(ddl), _ended(undo), dotted(index), keys(index),
        tuple(index.include), index.where, index.method, one.standing.size_bytes, -one.write_cost.percent,
        value=index,
    )  # fmt: skip


def finding_piece(one: Finding, supposed: Supposed | None = None, helps: Sequence[str] = ()) -> Piece:
    """What is to be done about an index, whatever the statements: built anew, or made for a foreign key."""
    index = one.index
    kept = f" ({'; '.join(one.minded)})" if one.minded else ""
    return Piece(
        "index", f"{one.why}{kept}", _ended(one.ddl), _ended(one.undo), dotted(index), keys(index),
        tuple(index.include), index.where, index.method,
        supposed.size_bytes if supposed is not None else one.size_bytes, helps=tuple(helps), value=index,
    )  # fmt: skip


def rewrite_piece(draft: Draft, one: Rewrite, held: Held | None) -> Piece:
    """Another text for the program, with what it rests on."""
    why = f"{', '.join(one.rules)}{': ' + '; '.join(one.conditions) if one.conditions else ''}"
    if held is not None and held.state == "unproved":
        why += f"; not proved: {held.why}{_resting(draft)}"
    return Piece(
        "rewrite", why, (one.after,), (one.before,), helps=(draft.fingerprint,), rejected=tuple(draft.rejected),
        value=one,
    )  # fmt: skip


def _resting(draft: Draft) -> str:
    """What still speaks for a rewrite whose answers were empty."""
    if draft.verified is None or draft.verified.proof.rows != 0:
        return ""
    generated = ", and on generated rows, on which it answered the same" if draft.forms[0].compared else ""
    return f"; it rests on its rules{generated}"


def view_piece(
    candidate: ViewCandidate, helps: Sequence[str], held: Held | None, policy: Policy, *, scale: float = 1.0
) -> Piece:
    """A materialized view with its indexes, and how it is kept up to date."""
    view = candidate.view
    ddl = (f"{view.create()};", *(f"{index.create(concurrently=False)};" for index in view.all_indexes))
    why = "; ".join((candidate.why, *candidate.conditions, f"kept by {_WAYS[policy.way]}: {policy.why}"))
    if held is not None and held.state == "unproved":
        why += f"; not proved: {held.why}"
    measured = held.build_seconds if held is not None else None
    return Piece(
        "view", why, ddl, (f"{view.drop()};",), ".".join(table_parts(view.name)), tuple(view.key),
        method="materialized view", size_bytes=round(held.size_bytes * scale) if held is not None else 0,
        refresh_seconds=measured * scale if measured is not None else None,
        helps=tuple(helps), rejected=candidate.rejected, value=view, policy=policy,
    )  # fmt: skip


_WAYS = {
    "once": "nothing", "plain": "plain refreshes", "concurrently": "concurrent refreshes",
    "delta": "a log of changes", "triggers": "triggers",
}  # fmt: skip


def cache_piece(one: CacheCandidate) -> Piece:
    """An answer to keep: the lines of the migration by which the database tells its changes, then the program's."""
    policy = one.policy
    return Piece(
        "cache", "; ".join((one.why, *one.conditions)), (*one.setup, *policy.lines), columns=(policy.key,),
        method=policy.layer, helps=(policy.fingerprint,), value=policy,
    )  # fmt: skip


def dotted(index: Index) -> str:
    """Its table with its schema."""
    return ".".join(table_parts(index.table))


def keys(index: Index) -> tuple[str, ...]:
    """The keys as a person writes them: "created_at desc"."""
    return tuple(
        (key.of if isinstance(key.of, str) else key.of.sql)
        + (f" {key.operators}" if key.operators else "")
        + (" desc" if key.descending else "")
        + (f" nulls {key.nulls}" if key.nulls else "")
        for key in index.keys
    )


def _lost(cost: WriteCost) -> str:
    count = len(cost.hot_lost)
    told = f"{count} statement{'' if count == 1 else 's'}"
    lost = f"; updates that set its columns leave their page ({told})" if count else ""
    return f"{lost}{'; ' + cost.note if cost.note else ''}"


def _ended(statements: Sequence[str]) -> tuple[str, ...]:
    """Each with its semicolon."""
    return tuple(f"{one.rstrip().rstrip(';')};" for one in statements)
