"""All ways to ask a query otherwise that the rules find, alone and together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
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


# The fields that lead to a tree, each with the place in it.
_Path = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class _Way:
    tree: Tree
    rules: tuple[str, ...] = ()
    because: tuple[str, ...] = ()

    def then(self, rule: Rule, tree: Tree, because: str) -> _Way:
        return _Way(tree, (*self.rules, rule.name), (*self.because, because))


_Steps = Callable[[_Way], Iterable[_Way]]


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
    first = tuple(_steps(start, catalog))

    def steps(way: _Way) -> Iterable[_Way]:
        # Everybody begins with the same ones.
        return first if way is start else _steps(way, catalog)

    for way in (_together(start, steps), *_apart(start, steps), *_alternatives(start, steps)):
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


def _together(way: _Way, steps: _Steps) -> _Way:
    """Every rule that is not apart, again and again, until none fits any more."""
    seen = {write(way.tree)}
    while len(way.rules) < _STEPS_MAX:
        for step in steps(way):
            text = write(step.tree)
            if text not in seen and step.rules[-1] not in _APART:
                seen.add(text)
                way = step
                break
        else:
            return way
    return way


def _apart(way: _Way, steps: _Steps) -> Iterator[_Way]:
    """What all others make of each rule that stands apart; asked for first, for the rest may be too many."""
    for step in steps(way):
        if step.rules[-1] in _APART:
            yield _together(step, steps)


def _alternatives(way: _Way, steps: _Steps) -> Iterator[_Way]:
    """Every rule alone, then pairs and so on."""
    waiting, seen, looked = deque([way]), {write(way.tree)}, 0
    while waiting and looked < ALTERNATIVES_MAX:
        looked += 1
        for step in steps(waiting.popleft()):
            text = write(step.tree)
            if text not in seen and len(step.rules) < _STEPS_MAX:
                seen.add(text)
                waiting.append(step)
                yield step


def _steps(way: _Way, catalog: Catalog) -> Iterator[_Way]:
    selects = tuple(_selects(way.tree, catalog, None, ()))
    for rule in RULES:
        for tree, because in _applied(rule, way.tree, selects, Facts()):
            yield way.then(rule, tree, because)


def applied(rule: Rule, tree: Tree, catalog: Catalog, facts: Facts) -> Iterator[tuple[Tree, str]]:
    """The statement with a rule applied to one of its SELECTs, for each where it fits."""
    yield from _applied(rule, tree, tuple(_selects(tree, catalog, None, ())), facts)


def _applied(
    rule: Rule, tree: Tree, selects: tuple[tuple[Block, _Path], ...], facts: Facts
) -> Iterator[tuple[Tree, str]]:
    for block, path in selects:
        changed = rule.apply(block, facts)
        if changed is not None:
            yield _put(tree, path, changed.select), changed.because


def _selects(tree: Tree, catalog: Catalog, outer: Scope | None, path: _Path) -> Iterator[tuple[Block, _Path]]:
    """Every SELECT with its names and its place in the statement, each before those inside of it."""
    if tree.kind == "SelectStmt":
        scope = scope_of(tree, catalog, outer)
        yield Block(tree, scope, catalog, top=outer is None), path
        outer = scope
    for name, part in tree.parts:
        for place, one in enumerate(part if isinstance(part, tuple) else (part,)):
            if isinstance(one, Tree):
                yield from _selects(one, catalog, outer, (*path, (name, place)))


def _put(tree: Tree, path: _Path, new: Tree) -> Tree:
    """The tree with another one at this place."""
    if not path:
        return new
    (name, place), *rest = path
    part = tree.get(name)
    if isinstance(part, Tree):
        return tree.replaced(**{name: _put(part, tuple(rest), new)})
    several = list(part) if isinstance(part, tuple) else []
    below = several[place]
    several[place] = _put(below, tuple(rest), new) if isinstance(below, Tree) else below
    return tree.replaced(**{name: tuple(several)})
