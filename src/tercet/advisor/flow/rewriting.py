"""Which other texts of a question are worth trying: proved by rule, weighed with every index, tried on mean data."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rejected
from tercet.advisor.choice import choose
from tercet.advisor.equivalence.check import check
from tercet.advisor.equivalence.determined import determined
from tercet.advisor.flow.draft import Form
from tercet.advisor.flow.thinking import thought_of
from tercet.advisor.private.scratch import scratch
from tercet.advisor.query import Example
from tercet.advisor.rewrites import RULES, notes, rewrite
from tercet.advisor.shadow import Shadow
from tercet.errors import SqlInvalid, TercetError
from tercet.sql import Statement
from tercet.sql.tree import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.advice import Rewrite
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.port import WhatIf
    from tercet.advisor.query import Query

# Less than that is not worth another text in the program.
GAIN_MIN = 1.10
# What the network takes for a statement on its way; to save less is not worth another text either.
SAVED_MS_MIN = 0.5
# A text that is reckoned to take so many times longer than the best may still be the best when it is run.
DOUBT = 2.0
# Texts of one statement that are run against each other; each takes its indexes and some runs.
FORMS_MAX = 4
# What is reckoned of two texts says nothing where it differs by less.
NEAR = 1.05
# For the indexes of one text alone.
_FORM_SECONDS = 2.0
# Rules whose texts may as well be slower: one of each such kind is tried.
_APART = frozenset(rule.name for rule in RULES if rule.apart)


async def think(drafts: Sequence[Draft], catalog: Catalog, wishes: Wishes) -> None:
    """Give each draft what is to be known of its question, and what else it may be asked by; nobody is asked for it."""
    for at, draft in enumerate(drafts):
        wishes.progress("asking the same in other words", at, len(drafts))
        names = _under(draft.query, catalog)
        draft.notes += _open(draft.query, names)
        quick = draft.query.ms is not None and draft.query.ms < SAVED_MS_MIN
        draft.others = rewrite(draft.query, names) if draft.query.reading and not quick else ()
        # Meanwhile the engine is starting.
        await asyncio.sleep(0)


async def forms(drafts: Sequence[Draft], catalog: Catalog, engine: WhatIf, wishes: Wishes) -> None:
    """Give each draft the texts that may be the quickest, the best first."""
    for at, draft in enumerate(drafts):
        wishes.progress("weighing it in other words", at, len(drafts))
        await _weigh(draft, catalog, engine, wishes)
    await _refute([draft for draft in drafts if len(draft.forms) > 1], catalog, engine, wishes)


def _under(query: Query, catalog: Catalog) -> Catalog:
    """The catalogue as the statement's search_path reads it."""
    return replace(catalog, search_path=query.search_path) if query.search_path else catalog


def _open(query: Query, catalog: Catalog) -> list[str]:
    if not query.reading:
        return []
    try:
        found = [one.sentence() for one in determined(parse(query.sql), catalog)]
    except SqlInvalid:
        return []
    return [*found, *notes(query, catalog)]


async def _weigh(draft: Draft, catalog: Catalog, engine: WhatIf, wishes: Wishes) -> None:
    """The statement and its rewrites, each with the indexes that are best for it alone; those far behind are left."""
    own = Form(draft.query)
    draft.forms = [own]
    if not draft.others:
        return
    await _alone(own, catalog, engine, wishes)
    if own.before is None or (draft.query.ms is None and own.before < SAVED_MS_MIN):
        return
    for one in draft.others:
        form = Form(_as_query(draft.query, one), one)
        await _alone(form, catalog, engine, wishes)
        draft.forms.append(form)
    _as_measured(draft)
    known = [form for form in draft.forms if form.ms is not None]
    if not known:
        return
    best = min(form.ms for form in known if form.ms is not None)
    kept = _unlike([form for form in known if (form.ms or 0.0) <= best * DOUBT], run=wishes.runs)
    for form in draft.forms[1:]:
        if form not in kept:
            slower = (form.ms or 0.0) > best * DOUBT
            why = (
                "it is reckoned to be slower, whatever the indexes" if slower else "another is reckoned to be as quick"
            )
            draft.rejected.append(Rejected(form.words(), why))
    draft.forms = kept if own in kept else [*kept, own]
    if _stays(own, draft.forms[0]):
        draft.forms.sort(key=lambda form: form is not own)


def _stays(own: Form, best: Form) -> bool:
    """Whether the text may stay as it is: nearly as quick as it is, without more to be built for it."""
    if own.ms is None or best.ms is None:
        return False
    little = own.ms - best.ms < SAVED_MS_MIN and len(own.indexes) <= len(best.indexes)
    return little or own.ms <= best.ms * GAIN_MIN


def _unlike(forms: Sequence[Form], *, run: bool) -> list[Form]:
    """The quickest, each of another kind or well apart from its like, so that a run shows something new.

    Among those alike it is the one by the fewest rules; where it is going to be run, that by most of them, for a rule
    that does not stand apart is seldom a loss, and what it gains is seldom reckoned.
    """
    kept: list[Form] = []
    for form in sorted(forms, key=lambda one: (one.ms or 0.0, _rules(one))):
        alike = next((at for at, one in enumerate(kept) if _alike(form, one)), None)
        if alike is None:
            kept.append(form)
        elif run and _rules(form) > _rules(kept[alike]):
            kept[alike] = form
    return kept[:FORMS_MAX]


def _alike(form: Form, other: Form) -> bool:
    if form.rewrite is None or other.rewrite is None:
        return False
    same = _APART & set(form.rewrite.rules) == _APART & set(other.rewrite.rules)
    return same and (form.ms or 0.0) <= (other.ms or 0.0) * NEAR


def _rules(form: Form) -> int:
    return len(form.rewrite.rules) if form.rewrite is not None else 0


async def _alone(form: Form, catalog: Catalog, engine: WhatIf, wishes: Wishes) -> None:
    """Reckon what a text takes without any change, and with the indexes that are best for it alone."""
    query = replace(form.query, ms=None)
    choice = await choose(
        [query], await thought_of([query], catalog, engine, wishes), engine, catalog,
        budget_bytes=wishes.budget_bytes, thorough=False, seconds=_FORM_SECONDS, run=wishes.runs,
    )  # fmt: skip
    outlook = choice.outlook(form.query.fingerprint)
    if outlook is not None:
        form.before, form.ms = outlook.ms_before, outlook.ms_after
        form.indexes = tuple(one.candidate.index for one in choice.picked)


def _as_measured(draft: Draft) -> None:
    """Correct what was reckoned by what somebody has measured of the statement as it is."""
    own = draft.forms[0]
    if not draft.query.ms or not own.before:
        return
    factor = draft.query.ms / own.before
    for form in draft.forms:
        if form.before is not None and form.ms is not None:
            form.before, form.ms = form.before * factor, form.ms * factor
            form.query = replace(form.query, ms=form.before)


async def _refute(drafts: Sequence[Draft], catalog: Catalog, engine: WhatIf, wishes: Wishes) -> None:
    """Run each text against the statement itself on mean data; what answers otherwise goes."""
    if not drafts:
        return
    wishes.progress("comparing answers on mean data", 0, len(drafts))
    try:
        async with engine.scratch() if isinstance(engine, Shadow) else scratch(catalog.version) as database:
            for at, draft in enumerate(drafts):
                for form in [one for one in draft.forms if one.rewrite is not None]:
                    names = _under(draft.query, catalog)
                    found = await check(draft.query.sql, form.query.sql, names, database)
                    form.compared = found.outcome == "same"
                    if found.outcome == "refuted":
                        draft.rejected.append(Rejected(form.words(), "it answered otherwise on generated rows"))
                        draft.forms.remove(form)
                wishes.progress("comparing answers on mean data", at + 1, len(drafts))
    except TercetError as error:
        for draft in drafts:
            others = [one for one in draft.forms if one.rewrite is not None]
            draft.rejected += [Rejected(one.words(), f"it could not be tried: {error}") for one in others]
            draft.forms = [one for one in draft.forms if one.rewrite is None]


def _as_query(query: Query, other: Rewrite) -> Query:
    """The other text with the same calls."""
    return replace(query, statement=Statement(other.after), examples=(Example(other.after),), ms=None)
