"""More indexes made of candidates: shorter ones, and such that do the work of two."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from tercet.advisor.candidate import Candidate, index_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.sql import Index

# Wider keys are hardly ever of use to more than one statement, and dear for everybody who writes.
_KEYS_MOST = 5
# Each costs an engine as much as two plans, and one plan for each statement of its own.
_VARIANTS_MOST = 100


def variants(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Each b-tree without what it carries and without its last key; and each two that begin alike as one."""
    known = {_essence(one.index) for one in candidates}
    made: list[Candidate] = []
    for one in (*_shorter(candidates), *_merged(candidates)):
        if _essence(one.index) not in known and len(made) < _VARIANTS_MOST:
            known.add(_essence(one.index))
            made.append(one)
    return tuple(made)


def _shorter(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    for one in candidates:
        index = one.index
        if index.method != "btree" or index.unique:
            continue
        if index.include:
            yield _made(one, replace(index, include=()), f"{one.why}; without the columns it would carry")
        for count in range(len(index.keys) - 1, 0, -1):
            shorter = replace(index, columns=index.keys[:count], include=())
            yield _made(
                replace(one, ordered=False), shorter, f"{one.why}; by its first {count} of {len(index.keys)} columns"
            )


def _merged(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    for one, two in combinations(candidates, 2):
        a, b = one.index, two.index
        if (a.table, a.method, a.where, a.keys[0]) != (b.table, b.method, b.where, b.keys[0]) or a.method != "btree":
            continue
        if a.unique or b.unique:
            continue
        for first, second in ((a, b), (b, a)):
            names = {key.of for key in first.keys}
            keys = (*first.keys, *(key for key in second.keys if key.of not in names))
            plain = {key.of for key in keys}
            carried = tuple(dict.fromkeys(name for name in (*first.include, *second.include) if name not in plain))
            if len(keys) <= _KEYS_MOST:
                both = replace(first, columns=keys, include=carried)
                made = _made(one, both, f"does the work of {one.name} and {two.name}")
                yield replace(made, queries=one.queries | two.queries, replaces=(*one.replaces, *two.replaces))


def _made(candidate: Candidate, index: Index, why: str) -> Candidate:
    named = replace(index, name=index_name(index))
    return replace(candidate, index=named, why=why, reasons=())


def _essence(index: Index) -> tuple[object, ...]:
    return (index.table, index.method, index.keys, frozenset(index.include), index.where, index.unique)
