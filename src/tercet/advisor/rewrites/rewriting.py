"""All ways to ask a query otherwise that the rules find, alone and together."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rewrite
from tercet.advisor.rewrites.facts import Facts
from tercet.advisor.rewrites.rule import Block
from tercet.advisor.rewrites.rules import RULES, keyset
from tercet.advisor.rewrites.sources import scope_of
from tercet.sql.tree import Tree, parse, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.query import Query
    from tercet.advisor.rewrites.rule import Rule
    from tercet.advisor.rewrites.sources import Scope

# Each is planned, checked and maybe run: what the best few do not show, more would not.
ALTERNATIVES_MAX = 16
# A text this deep in rules is one that circles.
_STEPS_MAX = 12
_APART = frozenset(rule.name for rule in RULES if rule.apart)


@dataclass(frozen=True, slots=True)
class _Way:
    tree: Tree
    rules: tuple[str, ...] = ()
    because: tuple[str, ...] = ()

    def then(self, rule: Rule, tree: Tree, because: str) -> _Way:
        return _Way(tree, (*self.rules, rule.name), (*self.because, because))


def rewrite(query: Query, catalog: Catalog) -> tuple[Rewrite, ...]:
    """Other texts of the same question, that of all rules together first; each names its rules and conditions.

    Every rule has proved its condition from the catalog. Whether a text is faster is for a planner and a run to say.
    """
    if not query.reading:
        return ()
    before = parse(query.sql)
    seen = {write(before)}
    found: list[_Way] = []
    start = _Way(before)
    for way in (_together(start, catalog), *_apart(start, catalog), *_alternatives(start, catalog)):
        text = write(way.tree)
        if way.rules and text not in seen:
            seen.add(text)
            found.append(way)
        if len(found) == ALTERNATIVES_MAX:
            break
    return tuple(
        Rewrite(query.fingerprint, query.sql, write(way.tree), way.rules, tuple(dict.fromkeys(way.because)))
        for way in found
    )


def notes(query: Query, catalog: Catalog) -> tuple[str, ...]:
    """What would make a query faster and cannot be done without changing the program too."""
    tree = parse(query.sql)
    if tree.kind != "SelectStmt":
        return ()
    said = keyset.note(Block(tree, scope_of(tree, catalog), catalog, top=True), Facts())
    return (said,) if said else ()


def _together(way: _Way, catalog: Catalog) -> _Way:
    """Every rule that is not apart, again and again, until none fits any more."""
    seen = {write(way.tree)}
    while len(way.rules) < _STEPS_MAX:
        for step in _steps(way, catalog):
            text = write(step.tree)
            if text not in seen and step.rules[-1] not in _APART:
                seen.add(text)
                way = step
                break
        else:
            return way
    return way


def _apart(way: _Way, catalog: Catalog) -> Iterator[_Way]:
    """What all others make of each rule that stands apart; asked for first, for the rest may be too many."""
    for step in _steps(way, catalog):
        if step.rules[-1] in _APART:
            yield _together(step, catalog)


def _alternatives(way: _Way, catalog: Catalog) -> Iterator[_Way]:
    """Every rule alone, then pairs and so on."""
    waiting, seen, looked = deque([way]), {write(way.tree)}, 0
    while waiting and looked < ALTERNATIVES_MAX:
        looked += 1
        for step in _steps(waiting.popleft(), catalog):
            text = write(step.tree)
            if text not in seen and len(step.rules) < _STEPS_MAX:
                seen.add(text)
                waiting.append(step)
                yield step


def _steps(way: _Way, catalog: Catalog) -> Iterator[_Way]:
    for rule in RULES:
        for tree, because in applied(rule, way.tree, catalog, Facts()):
            yield way.then(rule, tree, because)


def applied(rule: Rule, tree: Tree, catalog: Catalog, facts: Facts) -> Iterator[tuple[Tree, str]]:
    """The statement with a rule applied to one of its SELECTs, for each where it fits."""
    yield from _applied(rule, tree, catalog, facts, None)


def _applied(rule: Rule, tree: Tree, catalog: Catalog, facts: Facts, outer: Scope | None) -> Iterator[tuple[Tree, str]]:
    if tree.kind == "SelectStmt":
        scope = scope_of(tree, catalog, outer)
        changed = rule.apply(Block(tree, scope, catalog, top=outer is None), facts)
        if changed is not None:
            yield changed.select, changed.because
        outer = scope
    for name, part in tree.parts:
        if isinstance(part, Tree):
            for new, because in _applied(rule, part, catalog, facts, outer):
                yield tree.replaced(**{name: new}), because
        elif isinstance(part, tuple):
            for place, one in enumerate(part):
                if isinstance(one, Tree):
                    for new, because in _applied(rule, one, catalog, facts, outer):
                        yield tree.replaced(**{name: (*part[:place], new, *part[place + 1 :])}), because
