"""What was found, as the values that every advice is told in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Advice, Piece, Proof, Rejected, Rewrite, StatementAdvice
from tercet.advisor.mongo import shell
from tercet.advisor.mongo.choice.draft import WORTH, Draft, Tried, shown
from tercet.units import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tercet.advisor.advice import Engine, MongoChange
    from tercet.advisor.mongo.candidates.candidate import Candidate
    from tercet.advisor.mongo.candidates.housekeeping import Drop
    from tercet.advisor.mongo.choice.proving import Proved
    from tercet.advisor.mongo.index import MongoIndex
    from tercet.advisor.mongo.shape import MongoWorkload

# More than these say the same again.
_REJECTED_MAX = 8


@dataclass
class Found:
    """Everything that an advice is told from."""

    workload: MongoWorkload
    drafts: Sequence[Draft]
    proved: Proved
    tried: Sequence[Tried] = ()
    # Taken by rule alone, where nothing was tried.
    reasoned: Sequence[Candidate] = ()
    drops: Sequence[Drop] = ()
    ratios: Mapping[str, float] = field(default_factory=dict)
    engine: Engine | None = None
    budget_bytes: int | None = None
    notes: tuple[str, ...] = ()


def tell(found: Found, change: Callable[[MongoIndex], MongoChange]) -> Advice:
    """The advice; `change` writes an index down with the commands that must not suffer by it."""
    pieces: list[Piece] = [_index(found, one, change) for one in found.proved.picked]
    pieces += [_reasoned(one, change) for one in found.reasoned]
    pieces += [piece for draft in found.drafts for piece in _rewrite(found, draft)]
    pieces += [_drop(one, change) for one in found.drops]
    numbered = tuple(replace(piece, number=number) for number, piece in enumerate(pieces, 1))
    skipped = tuple(f"{one.what}: {one.why}" for one in found.workload.skipped)
    return Advice(
        tuple(_statement(found, draft, numbered) for draft in found.drafts),
        numbered,
        found.engine,
        found.workload.source,
        found.budget_bytes,
        (*found.notes, *dict.fromkeys(skipped)),
    )


def _index(found: Found, one: Tried, change: Callable[[MongoIndex], MongoChange]) -> Piece:
    index = one.candidate.index
    helps = tuple(dict.fromkeys(place[0] for place in one.costs))
    chosen = [other.candidate for other in found.proved.picked]
    others = [other for other in found.tried if other.candidate not in chosen]
    mates = [other for other in others if other.rejected and set(other.candidate.helps) & set(helps)]
    lesser = [other for other in others if not other.rejected and set(other.candidate.helps) & set(helps)]
    rejected = [other.out() for other in mates]
    rejected += [Rejected(other.called, _lesser(found, other)) for other in lesser]
    return replace(
        _piece(one.candidate, change),
        size_bytes=int(one.size_bytes * found.ratios.get(index.collection, 1.0)),
        write_cost=found.proved.write_cost.get(index.called),
        helps=helps,
        rejected=tuple(rejected[:_REJECTED_MAX]),
    )


def _lesser(found: Found, other: Tried) -> str:
    """What another one came to, beside what was taken."""
    parts = []
    for draft in found.drafts:
        if draft.runs and any(place[0] == draft.fingerprint for place in other.costs):
            now, then = draft.ms({}), draft.ms(other.costs)
            parts.append(f"{draft.query.label}: {_ms(now)} → {_ms(then)} on the sample")
    return "; ".join(parts[:3]) or "it saves less"


def _reasoned(one: Candidate, change: Callable[[MongoIndex], MongoChange]) -> Piece:
    return replace(_piece(one, change), why=f"{one.why}; not tried", helps=one.helps, fragile=True)


def _piece(one: Candidate, change: Callable[[MongoIndex], MongoChange]) -> Piece:
    index = one.index
    options = {"name": index.called, **index.options}
    return Piece(
        "index",
        one.why,
        ddl=(shell.create(index.collection, dict(index.keys), options),),
        undo=(shell.drop(index.collection, index.called),),
        table=index.collection,
        columns=index.shown(),
        where=None if index.partial is None else shell.written(index.partial),
        value=change(index),
    )


def _rewrite(found: Found, draft: Draft) -> list[Piece]:
    form = found.proved.forms.get(draft.fingerprint, 0)
    if not form or found.proved.same.get(draft.fingerprint) is False:
        return []
    one = draft.forms[form]
    before, after = shell.line(draft.query.command), shell.line(one.commands[0])
    why = "; ".join(one.conditions)
    return [
        Piece("rewrite", why, (after,), (before,), table=draft.query.collection, helps=(draft.fingerprint,),
              value=Rewrite(draft.fingerprint, before, after, one.rules, one.conditions)),
    ]  # fmt: skip


def _drop(one: Drop, change: Callable[[MongoIndex], MongoChange]) -> Piece:
    index = one.index
    options = {"name": index.name, **index.options}
    return Piece(
        "drop_index", f"{index.name}: {one.why}",
        (shell.drop(index.collection, index.name),),
        (shell.create(index.collection, dict(index.keys), options),),
        table=index.collection,
        columns=index.shown(),
        size_bytes=index.size_bytes,
        fragile=not one.sure,
        value=change(index),
    )  # fmt: skip


def _statement(found: Found, draft: Draft, pieces: Sequence[Piece]) -> StatementAdvice:
    name, proved = draft.fingerprint, found.proved
    mine = tuple(piece.number for piece in pieces if name in piece.helps and _felt(found, draft, piece))
    form = proved.forms.get(name, 0)
    before, after = _times(found, draft)
    return StatementAdvice(
        name,
        shell.line(draft.query.command),
        draft.query.label,
        draft.query.calls,
        before,
        after if mine else before,
        pieces=mine,
        proof=_proof(found, draft) if mine else None,
        notes=tuple(_notes(found, draft, told=bool(mine))),
        sql_after=shell.line(draft.forms[form].commands[0]) if form and mine else None,
    )


def _felt(found: Found, draft: Draft, piece: Piece) -> bool:
    """Whether the query gets faster by it: an index by which nothing changes here is not this one's."""
    if piece.kind == "drop_index" or draft.fingerprint not in found.proved.before:
        return piece.kind != "drop_index" and not draft.runs
    return min(found.proved.after[draft.fingerprint]) <= min(found.proved.before[draft.fingerprint]) * (1 - WORTH / 2)


def _times(found: Found, draft: Draft) -> tuple[float | None, float | None]:
    """Milliseconds in production: as somebody measured them, else as the sample's come to on all documents."""
    if not draft.runs:
        return draft.query.ms, None
    now = draft.before[0, 0].wall_ms * draft.scale if draft.query.ms is None else draft.query.ms
    name = draft.fingerprint
    if name not in found.proved.before:
        return now, None
    before, after = min(found.proved.before[name]), min(found.proved.after[name])
    scale = _scale_after(found, draft)
    return now, now * (after * scale) / (before * draft.scale)


def _scale_after(found: Found, draft: Draft) -> float:
    told = found.proved.told.get(draft.fingerprint)
    command = draft.query.command
    if told is not None and command.limit and told.returned >= command.limit and not told.sorted:
        return 1.0
    return found.ratios.get(command.collection, 1.0)


def _proof(found: Found, draft: Draft) -> Proof:
    name, proved = draft.fingerprint, found.proved
    if name not in proved.before:
        return Proof("plan")
    before, told = draft.told[0, 0], proved.told[name]
    rows, same = proved.rows[name], proved.same[name]
    said = f"same {rows:,} {'row' if rows == 1 else 'rows'}"
    if same and not rows:
        same, said = None, "both answers are empty, so nothing was compared"
    elif same is None:
        said = "its order leaves open which rows come" if rows else "its rows were not compared"
    return Proof(
        "sample",
        same_rows=same,
        interval=proved.interval(name),
        rows=rows if same is not None or not rows else None,
        sentence="" if same is False else f"{said}, {before.docs:,} → {told.docs:,} documents read",
    )


def _notes(found: Found, draft: Draft, *, told: bool) -> list[str]:
    notes = list(dict.fromkeys(draft.notes))
    name = draft.fingerprint
    if draft.runs and not told:
        notes.append(_left_alone(found, draft))
    if draft.runs:
        notes.append(f"before: {draft.told[0, 0].drawing}, {draft.told[0, 0].sentence()}")
    if told and name in found.proved.told:
        notes.append(f"after: {found.proved.told[name].drawing}, {found.proved.told[name].sentence()}")
    if draft.query.command.hinted:
        notes.append("the program gives a hint: whatever index is made, that one is used")
    return notes


def _left_alone(found: Found, draft: Draft) -> str:
    chosen = [one.candidate for one in found.proved.picked]
    out = [one for one in found.tried if one.rejected and one.candidate not in chosen]
    worse = [one for one in out if draft.fingerprint in one.candidate.helps]
    dearer = [one for one in worse if "dearer" in one.rejected]
    if dearer:
        return f"an index would harm: {shown(dearer[0].candidate)} {dearer[0].rejected}"
    percent = f"{WORTH:.0%}"
    return f"none of {len(worse)} indexes tried made it {percent} faster" if worse else "no index could help"


def _ms(value: float) -> str:
    return duration(value / 1e3)
