"""Everything that was found put into words and figures: the advice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Advice, CachePolicy, Engine, Piece, Proof, Rejected, StatementAdvice
from tercet.advisor.flow.summing import floor
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from tercet.advisor.advice import Kind, Rewrite
    from tercet.advisor.caching.candidate import CacheCandidate
    from tercet.advisor.candidates.finding import Finding
    from tercet.advisor.choice.chosen import Choice, Dropped, Picked, WriteCost
    from tercet.advisor.flow.draft import Draft
    from tercet.advisor.flow.proving import Proved
    from tercet.advisor.query import Workload
    from tercet.advisor.verify.change import Held
    from tercet.advisor.views.candidate import ViewCandidate
    from tercet.sql import Index


@dataclass(slots=True)
class Found:
    """All that the stages have come to."""

    workload: Workload
    drafts: Sequence[Draft]
    choice: Choice
    views: Sequence[ViewCandidate] = ()
    findings: Sequence[Finding] = ()
    cached: Sequence[CacheCandidate] = ()
    proved: Proved | None = None
    engine: Engine | None = None
    budget_bytes: int | None = None
    notes: list[str] = field(default_factory=list)


def tell(found: Found) -> Advice:
    """The advice: pieces in the order of what they save, and every statement with what changes it."""
    teller = _Teller(found)
    pieces = teller.pieces()
    statements = tuple(teller.statement(draft, pieces) for draft in found.drafts)
    ordered = sorted(statements, key=lambda one: -_saved(one))
    proved = found.proved
    notes = [*found.notes, *found.choice.notes, *(proved.notes if proved is not None else ())]
    notes += [f"left out: {one.why}: {one.sql[:80]}" for one in found.workload.skipped]
    return Advice(
        tuple(ordered), pieces, found.engine, found.workload.source, found.budget_bytes, tuple(dict.fromkeys(notes))
    )


def _saved(one: StatementAdvice) -> float:
    return ((one.ms_before or 0.0) - (one.ms_after or 0.0)) * one.calls


class _Teller:
    def __init__(self, found: Found) -> None:
        self._found = found
        self._withdrawn: dict[str, list[Rejected]] = {}

    def pieces(self) -> tuple[Piece, ...]:
        """What is to be done, numbered; what did not hold is told with its statements instead."""
        found = self._found
        made: list[Piece] = []
        for picked in found.choice.picked:
            held = self._held(picked.candidate.index)
            if self._holds(held, f"index {picked.candidate.name}", picked.helps):
                made.append(_index(picked, held))
        for draft in found.drafts:
            if draft.rewrite is not None:
                held = self._held(draft.rewrite)
                if self._holds(held, f"rewritten by {', '.join(draft.rewrite.rules)}", (draft.fingerprint,)):
                    made.append(_rewrite(draft, draft.rewrite))
        for candidate in found.views:
            held = self._held(candidate.view)
            if self._holds(held, f"the view {candidate.name}", candidate.helps):
                made.append(_view(candidate, [one for one in found.drafts if one.view == candidate.view], held))
        made += [_drop(one) for one in found.choice.dropped if self._drop_holds(one)]
        dropped = {one.value for one in made if one.kind == "drop_index"}
        made += [_finding(one) for one in found.findings if one.index not in dropped]
        made += [_cached(one) for one in found.cached]
        return tuple(replace(piece, number=at) for at, piece in enumerate(made, 1))

    def statement(self, draft: Draft, pieces: Sequence[Piece]) -> StatementAdvice:
        """One statement with the numbers of its pieces, its times and its proof."""
        own = tuple(one.number for one in pieces if draft.fingerprint in one.helps)
        kinds = {one.kind for one in pieces if draft.fingerprint in one.helps}
        before, after, proof = _times(draft, kinds, sampled=self._sampled)
        notes = [*draft.notes, *(f"not {one.what}: {one.why}" for one in self._withdrawn.get(draft.fingerprint, ()))]
        if not own:
            after, notes = before, [*notes, self._alone(draft)]
        summed = floor(draft)
        notes += [summed] if summed else []
        best = draft.view_verified if "view" in kinds and draft.view_verified is not None else draft.verified
        text = None
        if "view" in kinds and draft.over_view is not None:
            text = draft.over_view.after
        elif "rewrite" in kinds and draft.rewrite is not None:
            text = draft.rewrite.after
        ran_before, ran_after = (best.before, best.after) if best is not None else (None, None)
        return StatementAdvice(
            draft.fingerprint, draft.query.sql, draft.label(), draft.query.calls, before, after, own, proof,
            (ran_before.plan if ran_before is not None else None) or draft.plan_before,
            (ran_after.plan if ran_after is not None else None) or draft.plan_after,
            draft.query.sites, tuple(dict.fromkeys(notes)), text,
        )  # fmt: skip

    @property
    def _sampled(self) -> bool:
        return self._found.proved is not None and self._found.proved.sampled

    def _held(self, change: object) -> Held | None:
        return self._found.proved.held(change) if self._found.proved is not None else None

    def _holds(self, held: Held | None, what: str, helps: Sequence[str]) -> bool:
        if held is None or held.state != "withdrawn":
            return True
        for fingerprint in helps:
            self._withdrawn.setdefault(fingerprint, []).append(Rejected(what, held.why))
        self._found.notes.append(f"withdrawn after running: {what}: {held.why}")
        return False

    def _drop_holds(self, one: Dropped) -> bool:
        if self._found.proved is None:
            return True
        for verdicts in self._found.proved.verdicts:
            for held in verdicts.changes:
                if getattr(held.change, "index", None) == one.standing.index and held.state == "withdrawn":
                    self._found.notes.append(f"kept after running: index {one.standing.index.name}: {held.why}")
                    return False
        return True

    def _alone(self, draft: Draft) -> str:
        if draft.outlook is None:
            return "left alone: it could not be planned"
        if self._withdrawn.get(draft.fingerprint):
            return "left alone: what the planner promised did not hold"
        return "left alone: nothing that was tried is worth its price"


def _times(draft: Draft, kinds: AbstractSet[Kind], *, sampled: bool) -> tuple[float | None, float | None, Proof | None]:
    """Milliseconds before and after, measured where it was run; of a sample the ratio counts."""
    best = draft.view_verified if "view" in kinds and draft.view_verified is not None else draft.verified
    estimated = draft.view_ms if "view" in kinds else draft.outlook.ms_after if draft.outlook is not None else None
    known = draft.query.ms or (draft.outlook.ms_before if draft.outlook is not None else None)
    if best is None or best.ms_before is None or best.ms_after is None:
        return known, estimated, Proof("plan", estimated_ms=estimated) if kinds else None
    proof = replace(best.proof, estimated_ms=estimated)
    if sampled and draft.query.ms is not None and best.ms_before:
        return draft.query.ms, draft.query.ms * best.ms_after / best.ms_before, proof
    return best.ms_before, best.ms_after, proof


def _index(one: Picked, held: Held | None) -> Piece:
    index, cost = one.candidate.index, one.write_cost
    helps = held.helps if held is not None and held.helps else one.helps
    why = f"{one.candidate.why}{_lost(cost)}"
    if one.fragile:
        why += f"; fragile: {'; '.join(one.fragile)}"
    measured = held is not None and held.size_bytes > 0
    return Piece(
        "index", why, (f"{index.create()};",), (f"{index.drop()};",), _dotted(index), _keys(index),
        tuple(index.include), index.where, index.method,
        held.size_bytes if held is not None and measured else one.supposed.size_bytes,
        held.insert_percent if held is not None and held.insert_percent is not None else cost.percent,
        None, tuple(helps), one.rejected, bool(one.fragile), index,
    )  # fmt: skip


def _lost(cost: WriteCost) -> str:
    lost = f"; updates that set its columns leave their page ({len(cost.hot_lost)} statements)" if cost.hot_lost else ""
    return f"{lost}{'; ' + cost.note if cost.note else ''}"


def _drop(one: Dropped) -> Piece:
    index = one.standing.index
    return Piece(
        "drop_index", one.why, (f"{index.drop()};",), (f"{index.create()};",), _dotted(index), _keys(index),
        tuple(index.include), index.where, index.method, one.standing.size_bytes, -one.write_cost.percent,
        value=index,
    )  # fmt: skip


def _finding(one: Finding) -> Piece:
    index = one.index
    kept = f" ({'; '.join(one.minded)})" if one.minded else ""
    return Piece(
        "index" if one.action != "drop" else "drop_index", f"{one.why}{kept}", one.ddl, one.undo, _dotted(index),
        _keys(index), tuple(index.include), index.where, index.method, one.size_bytes, value=index,
    )  # fmt: skip


def _rewrite(draft: Draft, one: Rewrite) -> Piece:
    held = f": {'; '.join(one.conditions)}" if one.conditions else ""
    return Piece(
        "rewrite", f"{', '.join(one.rules)}{held}", (one.after,), (one.before,), helps=(draft.fingerprint,),
        rejected=tuple(draft.rejected), value=one,
    )  # fmt: skip


def _view(candidate: ViewCandidate, drafts: Sequence[Draft], held: Held | None) -> Piece:
    view = candidate.view
    ddl = (f"{view.create()};", *(f"{index.create(concurrently=False)};" for index in view.all_indexes))
    known = "; ".join(candidate.conditions)
    return Piece(
        "view", f"{candidate.why}{'; ' + known if known else ''}", ddl, (f"{view.drop()};",),
        ".".join(table_parts(view.name)), tuple(view.key), method="materialized view",
        size_bytes=held.size_bytes if held is not None else 0,
        refresh_seconds=held.build_seconds if held is not None else None,
        helps=tuple(draft.fingerprint for draft in drafts), rejected=candidate.rejected, value=view,
    )  # fmt: skip


def _cached(one: CacheCandidate) -> Piece:
    policy: CachePolicy = one.policy
    return Piece(
        "cache", one.why, policy.lines, columns=(policy.key,), method=policy.layer, helps=(policy.fingerprint,),
        value=policy,
    )  # fmt: skip


def _dotted(index: Index) -> str:
    return ".".join(table_parts(index.table))


def _keys(index: Index) -> tuple[str, ...]:
    """The keys as a person writes them: "created_at desc"."""
    return tuple(
        (key.of if isinstance(key.of, str) else key.of.sql)
        + (" desc" if key.descending else "")
        + (f" nulls {key.nulls}" if key.nulls else "")
        for key in index.keys
    )
