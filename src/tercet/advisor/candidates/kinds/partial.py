"""Partial: an index of only those rows that a constant condition leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import Draft, Kind, keys
from tercet.sql import Key, identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Condition, Scan, Term

# A condition that leaves more rows saves too little to be bound to it.
SHARE_MAX = 0.5
# A column of more values is not asked for one of them only: the next statement will name another.
VALUES_MAX = 20
# A number of more values than a handful is no code for a state but another row's key.
CODES_MAX = 8
# So much of the weight of all statements with a condition on the column must have the same one.
WEIGHT_MIN = 0.8
# Two constant conditions, alone and together, are what statements have.
_CONDITIONS_MAX = 2
_TESTS = frozenset({"equal", "any", "null", "not_null", "yes", "unlike"})
# Less is told as less than that.
_SAID_MIN = 0.01
# Where so many rows hold no value, an index without them is much smaller; equalities and ranges imply IS NOT NULL.
_EMPTY_MIN = 0.5


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """What was drafted before without the columns of the condition, which stands in WHERE instead."""
    found = sorted((one for one in scan.conditions if _fits(one, around)), key=lambda one: (one.share, one.sql))
    found = found[:_CONDITIONS_MAX]
    # Of two values that are asked for, one is a key: the next statement asks for another.
    both = len(found) > 1 and not all(one.test in {"equal", "any"} for one in found)
    sets = [(one,) for one in found] + ([tuple(found)] if both else [])
    for draft in around.made:
        if draft.where is None and not draft.unique and draft.method in {"btree", "gin"}:
            for some in sets:
                yield from _with(scan, draft, some)
            yield from _filled(scan, draft)


def _fits(one: Condition, around: Around) -> bool:
    return (
        one.test in _TESTS and one.sql is not None and one.share <= SHARE_MAX and one.term.fit
        and (one.test in {"null", "not_null", "yes"} or _few(one.term)) and _steady(one, around)
    )  # fmt: skip


def _few(term: Term) -> bool:
    known = term.column.statistics if term.column is not None else None
    if known is None or term.column is None:
        return False
    return 0 < known.distinct <= (CODES_MAX if term.column.category == "N" else VALUES_MAX)


def _steady(one: Condition, around: Around) -> bool:
    """Whether nearly all that ask for the column ask for the same."""
    weights = around.constants[one.term.of]
    return weights[one.sql] >= WEIGHT_MIN * sum(weights.values())


def _with(scan: Scan, draft: Draft, some: tuple[Condition, ...]) -> Iterator[Draft]:
    gone = {one.term.of for one in some}
    left = tuple(key for key in draft.keys if key.of not in gone)
    done = f"{draft.why}; " if left else ""
    # What only the condition names is not needed: the planner knows that each row holds it.
    include = tuple(name for name in draft.include if name not in gone or name not in scan.once)
    if not left:
        left, include = _first(scan), ()
    if not left or (draft.method == "gin" and len(left) < len(draft.keys)):
        return
    where = " AND ".join(f"({one.sql})" if len(some) > 1 else str(one.sql) for one in some)
    share = draft.share
    for one in some:
        held = one.term.of in {key.of for key in draft.keys}
        share *= 1.0 if held else one.share
    part = _part(some)
    told = f"{part:.0%}" if part >= _SAID_MIN else f"less than {_SAID_MIN:.0%}"
    why = f"{done}it holds only the rows where {where}, {told} of the table"
    yield replace(draft, keys=left, include=include, where=where, why=why, share=share)


def _part(some: tuple[Condition, ...]) -> float:
    share = 1.0
    for one in some:
        share *= one.share
    return share


def _first(scan: Scan) -> tuple[Key, ...]:
    """A key for an index whose condition says all: the order that is asked for, else the primary key's first column."""
    if scan.order and all(one.term.plain for one in scan.order[:1]):
        return keys((scan.order[0].term,))
    return tuple(Key(name) for name in scan.table.primary_key[:1])


def _filled(scan: Scan, draft: Draft) -> Iterator[Draft]:
    """Only the rows that hold a value, where most hold none."""
    if draft.method != "btree" or draft.ordered or draft.repeated or not draft.columns:
        return
    name = draft.columns[0]
    column = scan.table.column(name)
    asked = any(one.term.of == name and one.test in {"equal", "any", "range"} for one in scan.conditions)
    known = column.statistics if column is not None else None
    if asked and draft.keys[0].of == name and known is not None and known.null_fraction >= _EMPTY_MIN:
        where = f"{identifier(name)} IS NOT NULL"
        why = f"{draft.why}; {known.null_fraction:.0%} of the rows hold no {name} and stay out of it"
        yield replace(draft, where=where, why=why)


KIND = Kind("partial", drafts)
