"""Everything that was found put into words and figures: the advice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Advice, Proof, Rejected, StatementAdvice
from tercet.advisor.candidates.same import serves
from tercet.advisor.flow.stand import tables_of
from tercet.advisor.flow.summing import floor
from tercet.advisor.flow.telling import pieces as made
from tercet.advisor.flow.telling.keeping import base_tables, view_policy, worth_keeping
from tercet.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from tercet.advisor.advice import Engine, Kind, Piece
    from tercet.advisor.candidates import Finding
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.choice import Dropped, Picked
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.flow.indexing import Indexing
    from tercet.advisor.flow.proving import Proved
    from tercet.advisor.flow.stand import Stand
    from tercet.advisor.query import Query, Workload
    from tercet.advisor.verify.change import Held
    from tercet.advisor.views import Policy, ViewCandidate

# Counters that were never reset do not say since when they run.
_WRITES_UNKNOWN = (
    "nobody knows for how long the tables' writes were counted: new indexes were weighed against the writes of these "
    "statements only"
)


_STANDBY = (
    "this is a replica: it counts only its own reads and no writes, so indexes may cost more than is said here and "
    "none is called unused; what is advised is done on its primary"
)
_GUESSED = "what is said of it is guessed; ask as a login that bypasses row security"


@dataclass(slots=True)
class Found:
    """All that the stages have come to."""

    workload: Workload
    catalog: Catalog
    wishes: Wishes
    drafts: Sequence[Draft]
    indexing: Indexing
    views: Sequence[ViewCandidate]
    proved: Proved
    stand: Stand
    engine: Engine | None = None
    # Statements for which there was no time.
    others: Sequence[Query] = ()
    notes: list[str] = field(default_factory=list)


def tell(found: Found) -> Advice:
    """The advice: pieces in the order of what they save, and every statement with what changes it."""
    teller = _Teller(found)
    pieces = teller.pieces()
    statements = [teller.statement(draft, pieces) for draft in found.drafts]
    ordered = sorted(statements, key=lambda one: -_saved(one))
    notes = [*_of_login(found), *found.notes, *found.indexing.choice.notes, *found.stand.notes, *found.proved.notes]
    if any(one.write_cost.ms_a_second is None for one in found.indexing.choice.picked):
        notes.append(_WRITES_UNKNOWN)
    notes += [f"left out: {one.why}: {one.sql[:80]}" for one in found.workload.skipped]
    return Advice(
        (*ordered, *map(_unexamined, found.others)), pieces, found.engine, found.workload.source,
        found.wishes.budget_bytes, tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _of_login(found: Found) -> Iterator[str]:
    """What this server, or this login, does not show."""
    if found.catalog.standby:
        yield _STANDBY
    named = {name for draft in found.drafts for name in tables_of(draft.query, found.catalog)}
    for name in sorted(named):
        table = found.catalog.tables[name]
        if table.row_security and table.rows > 0 and not any(column.statistics for column in table.columns):
            yield f"{'.'.join(name)} has row security, which hides its statistics from this login: {_GUESSED}"


def _saved(one: StatementAdvice) -> float:
    return ((one.ms_before or 0.0) - (one.ms_after or 0.0)) * one.calls


def _unexamined(query: Query) -> StatementAdvice:
    why = "left alone: others take more time, and only so many are examined at once"
    label = query.label or query.fingerprint
    return StatementAdvice(
        query.fingerprint, query.sql, label, query.calls, query.ms, query.ms, sites=query.sites, notes=(why,)
    )


class _Teller:
    def __init__(self, found: Found) -> None:
        self._found = found
        self._choice, self._proved = found.indexing.choice, found.proved
        self._withdrawn: dict[str, list[Rejected]] = {}
        # What there was no room for within the budget, by the statements that it would be for.
        self._left_out: dict[str, list[str]] = {}
        self._lacking = {one.index for one in found.indexing.findings if one.action == "create"}
        self._by = {draft.asked.fingerprint: draft.fingerprint for draft in found.drafts}

    def pieces(self) -> tuple[Piece, ...]:
        """What is to be done, numbered; what did not hold is told with its statements instead."""
        views = list(self._views())
        policies = {who: policy for _, who_all, policy in views for who in who_all}
        found = self._found
        kept = worth_keeping(found.drafts, found.catalog, found.workload.seconds, policies)
        told = [*self._indexes(), *self._rewrites()]
        told += [piece for piece, _, _ in views]
        told += [*self._drops(), *self._findings(told), *(made.cache_piece(one) for one in kept)]
        return tuple(replace(piece, number=at) for at, piece in enumerate(told, 1))

    def _indexes(self) -> Iterator[Piece]:
        rebuilds = [one for one in self._found.indexing.findings if one.action == "rebuild"]
        for picked in self._choice.picked:
            index = picked.candidate.index
            held = self._proved.held(index)
            helps = self._helped(picked, held)
            if not self._holds(held, f"index {picked.candidate.name}", helps):
                continue
            scale = self._found.stand.scale(index)
            piece = replace(made.index_piece(picked, held, self._found.catalog, scale=scale), helps=helps)
            broken = next((one for one in rebuilds if _same_table(one, piece) and serves(one.index, index)), None)
            yield piece if broken is None else made.rebuilt_piece(broken, piece)

    def _helped(self, picked: Picked, held: Held | None) -> tuple[str, ...]:
        """Whom an index makes faster: shown by running it alone, or by what was run with it, or else by plan."""
        if held is None or not held.helps:
            return self._asked(picked.helps)
        name, more = picked.candidate.index.name, []
        for draft in self._found.drafts:
            ran = draft.verified
            if ran is None or ran.outcome == "unproved":
                more += [draft.fingerprint] if draft.asked.fingerprint in picked.helps else []
            elif ran.outcome == "faster" and ran.after is not None and ran.after.plan is not None:
                # Another index may do as well in its place: without this one alone, nothing was slower.
                more += [draft.fingerprint] if name in ran.after.plan.indexes else []
        return self._asked((*held.helps, *more))

    def _rewrites(self) -> Iterator[Piece]:
        for draft in self._found.drafts:
            if draft.rewrite is not None:
                held = self._proved.held(draft.rewrite)
                if self._holds(held, draft.forms[0].words(), (draft.fingerprint,)):
                    yield made.rewrite_piece(draft, draft.rewrite, held)

    def _views(self) -> Iterator[tuple[Piece, tuple[str, ...], Policy]]:
        found = self._found
        for candidate in found.views:
            held = self._proved.held(candidate.view)
            drafts = [one for one in found.drafts if one.view == candidate.view]
            helps = tuple(one.fingerprint for one in drafts if self._over(one))
            if not self._holds(held, f"the view {candidate.name}", [one.fingerprint for one in drafts]) or not helps:
                continue
            scale = found.stand.scale_of(base_tables(candidate, found.catalog))
            policy = view_policy(candidate, drafts, held, found.catalog, found.wishes, scale=scale)
            yield made.view_piece(candidate, helps, held, policy, scale=scale), helps, policy

    def _over(self, draft: Draft) -> bool:
        """Whether the statement over the view answers the same, and sooner, as far as it was run."""
        held = self._proved.held(draft.over_view)
        return self._holds(held, "the same over a view", (draft.fingerprint,))

    def _drops(self) -> Iterator[Piece]:
        suspects = {(one.table, one.index.name): one for one in self._found.indexing.findings if one.action == "drop"}
        for one in self._choice.dropped:
            if self._drop_holds(one):
                yield made.drop_piece(one, suspects.get((_qualified(one), one.standing.index.name)))

    def _findings(self, told: Sequence[Piece]) -> Iterator[Piece]:
        """Those that no piece says already; new indexes only while the budget has room for them, too."""
        rebuilt = {piece.value for piece in told}
        taken = sum(piece.size_bytes for piece in told if piece.kind == "index")
        for one in self._found.indexing.findings:
            if one.action == "drop" or one.index in rebuilt:
                continue
            if one.action == "create" and any(_leads(piece, one) for piece in told):
                continue
            piece = made.finding_piece(one, self._found.indexing.sizes.get(one.index.name), self._deleting(one))
            if one.action == "create":
                taken += piece.size_bytes
                if not self._room(piece, taken):
                    taken -= piece.size_bytes
                    continue
            yield piece

    def _room(self, piece: Piece, taken: int) -> bool:
        """Whether the budget holds with an index that is not of the choice; where it does not, that is told."""
        budget = self._found.wishes.budget_bytes
        # Of what no size is known, nobody can say that it fits.
        if budget is None or (piece.size_bytes and taken <= budget):
            return True
        much = f"its {size(piece.size_bytes)}" if piece.size_bytes else "it, whose size is not known,"
        why = f"{piece.why}; there is no room for {much} within the budget of {size(budget)}"
        self._found.notes.append(f"left out: index on {piece.table} ({', '.join(piece.columns)}): {why}")
        for fingerprint in piece.helps:
            self._left_out.setdefault(fingerprint, []).append(why)
        return False

    def _deleting(self, one: Finding) -> tuple[str, ...]:
        """The statements that delete from what a foreign key refers to."""
        if one.kind != "foreign_key":
            return ()
        table, columns = self._found.catalog.tables[one.table], tuple(key.of for key in one.index.keys)
        targets = {key.target[1] for key in table.foreign_keys if key.columns == columns}
        return tuple(
            draft.fingerprint
            for draft in self._found.drafts
            if draft.query.statement.kind == "delete"
            and any(name.rpartition(".")[2].strip('"') in targets for name in draft.query.statement.writes)
        )

    def statement(self, draft: Draft, pieces: Sequence[Piece]) -> StatementAdvice:
        """One statement with the numbers of its pieces, its times and its proof."""
        mine = [one for one in pieces if draft.fingerprint in one.helps]
        kinds = {one.kind for one in mine}
        before, after, proof = _times(draft, kinds, sampled=self._found.stand.sampled)
        if mine and all(one.value in self._lacking for one in mine):
            # No plan of a DELETE shows where its foreign keys look.
            after, proof = None, None
        notes = [*draft.notes, *(f"not {one.what}: {one.why}" for one in self._withdrawn.get(draft.fingerprint, ()))]
        summed = floor(draft)
        notes += [summed] if summed else []
        notes += self._left_out.get(draft.fingerprint, ())
        if not mine:
            after, notes = before, [f"left alone: {self._alone(draft)}", *notes]
        elif "view" in kinds:
            notes.append(_rungs(draft, mine, self._found.wishes))
        best = draft.view_verified if "view" in kinds and draft.view_verified is not None else draft.verified
        text = None
        if "view" in kinds and draft.over_view is not None:
            text = draft.over_view.after
        elif "rewrite" in kinds and draft.rewrite is not None:
            text = draft.rewrite.after
        ran_before, ran_after = (best.before, best.after) if best is not None else (None, None)
        return StatementAdvice(
            draft.fingerprint, draft.query.sql, draft.label(), draft.query.calls, before, after,
            tuple(one.number for one in mine), proof,
            (ran_before.plan if ran_before is not None else None) or draft.plan_before,
            (ran_after.plan if ran_after is not None else None) or draft.plan_after,
            draft.query.sites, tuple(dict.fromkeys(notes)), text,
        )  # fmt: skip

    def _asked(self, helps: Sequence[str]) -> tuple[str, ...]:
        """The statements as they are asked now, where a rewrite of them is what an index helps."""
        return tuple(dict.fromkeys(self._by.get(one, one) for one in helps))

    def _holds(self, held: Held | None, what: str, helps: Sequence[str]) -> bool:
        if held is None or held.state != "withdrawn":
            return True
        told = Rejected(what, held.why)
        for fingerprint in helps:
            if told not in self._withdrawn.setdefault(fingerprint, []):
                self._withdrawn[fingerprint].append(told)
        self._found.notes.append(f"withdrawn after running: {what}: {held.why}")
        return False

    def _drop_holds(self, one: Dropped) -> bool:
        for verdicts in self._proved.verdicts:
            for held in verdicts.changes:
                if getattr(held.change, "index", None) == one.standing.index and held.state == "withdrawn":
                    self._found.notes.append(f"kept after running: index {one.standing.index.name}: {held.why}")
                    return False
        # What was to do its work must be there.
        by = next((each for each in self._choice.picked if each.candidate.name == one.by), None)
        held_by = self._proved.held(by.candidate.index) if by is not None else None
        return held_by is None or held_by.state != "withdrawn"

    def _alone(self, draft: Draft) -> str:
        if self._withdrawn.get(draft.fingerprint):
            return "what the planner promised did not hold when it was run"
        picked = {one.candidate.name for one in self._choice.picked}
        used = sorted(draft.outlook.used & picked) if draft.outlook is not None else []
        if used and draft.verified is not None and draft.verified.outcome == "same":
            return f"run with {', '.join(used)}, which the planner takes for it, it is not a tenth faster"
        return draft.alone or "nothing that was tried is worth its price"


def _rungs(draft: Draft, mine: Sequence[Piece], wishes: Wishes) -> str:
    """What can be had without a view, which is always a little old."""
    view = next(one for one in mine if one.kind == "view")
    others = [one.number for one in mine if one.kind in {"index", "rewrite"}]
    ran = draft.verified if draft.verified is not None and draft.verified.ms_after is not None else None
    ms = ran.ms_after if ran is not None else draft.outlook.ms_after if draft.outlook is not None else None
    if ms is None:
        return f"piece {view.number} answers what was true up to {duration(wishes.tolerated_age)} ago"
    how = "measured" if ran is not None else "by estimate"
    numbers = ", ".join(map(str, others))
    always = f"pieces {numbers}" if len(others) > 1 else f"piece {numbers}" if others else "no index that was tried"
    said = f"without the view: {duration(ms / 1_000)} ({how}), {always}" + (", never old" if others else " helps")
    return f"{said}; with it (piece {view.number}) up to {duration(wishes.tolerated_age)} old"


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


def _same_table(one: Finding, piece: Piece) -> bool:
    return ".".join(one.table) == piece.table


def _qualified(one: Dropped) -> tuple[str, str]:
    parts = made.dotted(one.standing.index).split(".", 1)
    return parts[0], parts[-1]


def _leads(piece: Piece, one: Finding) -> bool:
    """Whether an index that is advised begins with the columns of a foreign key, in whatever order."""
    wanted = made.keys(one.index)
    return (
        piece.kind == "index" and _same_table(one, piece) and piece.where is None
        and piece.method in {"btree", "hash"} and set(piece.columns[: len(wanted)]) == set(wanted)
    )  # fmt: skip
