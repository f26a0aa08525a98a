"""Which answers are worth a cache beside indexes and views, and how a view is best kept up to date."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.caching import decide
from tercet.advisor.caching import propose as propose_caches
from tercet.advisor.flow.stand import tables_of
from tercet.advisor.query import Example, Query
from tercet.advisor.views.policy import policy
from tercet.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tercet.advisor.caching import CacheCandidate
    from tercet.advisor.catalog import Catalog, Qualified, Table
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.verify.change import Held
    from tercet.advisor.views import Policy, ViewCandidate

# Counters that nobody has ever reset and of which nobody knows the age: a day is taken for it.
_SECONDS_UNKNOWN = 86_400.0


def view_policy(
    candidate: ViewCandidate,
    drafts: Sequence[Draft],
    held: Held | None,
    catalog: Catalog,
    wishes: Wishes,
    *,
    scale: float = 1.0,
) -> Policy:
    """The cheapest way to keep a view, by what building it took (times `scale`, of a part of the rows).

    Where it was not built, a refresh is taken to last as long as the slowest statement that it answers.
    """
    if held is not None and held.build_seconds is not None:
        seconds, how = held.build_seconds * scale, "measured" if scale == 1.0 else "measured on a part of the rows"
    else:
        seconds, how = max((_ms(draft) for draft in drafts), default=0.0) / 1_000, "by estimate"
    rate = sum(changes_a_second(catalog.tables[name]) for name in base_tables(candidate, catalog))
    found = policy(seconds, rate, wishes.tolerated_age, additive=candidate.additive)
    return replace(found, why=f"{found.why} (a refresh takes {seconds:.3g} s, {how}; {rate:.3g} changes a second)")


def base_tables(candidate: ViewCandidate, catalog: Catalog) -> frozenset[Qualified]:
    """The tables that a view is made from."""
    sql = candidate.view.query
    return tables_of(Query(Statement(sql), (Example(sql),)), catalog)


def changes_a_second(table: Table) -> float:
    """How many of its rows are written in a second."""
    done = table.activity
    return (done.inserted + done.updated + done.deleted) / (done.seconds or _SECONDS_UNKNOWN)


def worth_keeping(
    drafts: Iterable[Draft], catalog: Catalog, window: float | None, policies: Mapping[str, Policy]
) -> tuple[CacheCandidate, ...]:
    """The answers that are worth keeping though indexes and views make them faster, each with what was weighed.

    `policies` are those of the views by the fingerprints that they answer.
    """
    by = {draft.fingerprint: draft for draft in drafts if not draft.refused}
    found = []
    for one in propose_caches([draft.query for draft in by.values()], catalog, seconds=window):
        draft = by[one.fingerprint]
        kept = policies.get(one.fingerprint)
        decision = decide(
            one.figures.reads,
            one.figures.ms,
            index_ms=_index_ms(draft),
            view_ms=_view_ms(draft) if kept is not None else None,
            view_core=kept.core if kept is not None else 0.0,
            cache=one.figures,
        )
        if decision.place == "cache":
            found.append(replace(one, why=f"{one.why}; {decision.why}"))
    return tuple(found)


def _ms(draft: Draft) -> float:
    return draft.query.ms or (draft.outlook.ms_before if draft.outlook is not None else 0.0)


def _index_ms(draft: Draft) -> float | None:
    ran = draft.verified
    if ran is not None and ran.ms_before and ran.ms_after is not None and draft.query.ms:
        return draft.query.ms * ran.ms_after / ran.ms_before
    return draft.outlook.ms_after if draft.outlook is not None else None


def _view_ms(draft: Draft) -> float | None:
    ran = draft.view_verified
    return ran.ms_after if ran is not None and ran.ms_after is not None else draft.view_ms
