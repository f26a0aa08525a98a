"""A top picks its rows by their keys first, and joins the other columns of just those afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import (
    aliased,
    column_ref,
    compared,
    free_name,
    joined,
    output,
    qualified,
    selected,
    windows,
)
from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import aggregates, columns, names, output_name
from tercet.sql.condition import all_of
from tercet.sql.tree import Tree, write

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.advisor.rewrites.sources import Source


@dataclass(frozen=True, slots=True)
class _Top:
    """A top taken apart: outputs by name, keys of its order, all columns under their sources' names."""

    outputs: tuple[tuple[str, Tree], ...]
    sorts: tuple[tuple[Tree, Tree], ...]
    groups: tuple[Tree, ...]


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows in the same order; what only the output needs is read for as many rows as come out."""
    select = block.select
    unfit = ("distinct_clause", "window_clause", "locking_clause", "values_lists", "into_clause")
    if not select.get("limit_count") or not select.get("sort_clause") or any(select.get(name) for name in unfit):
        return None
    if select.text("limit_option") == "LIMIT_OPTION_WITH_TIES" or windows(select) or block.scope.blind:
        return None
    top = _taken_apart(block)
    if top is None or not facts.steady(select):
        return None
    late = {one.name: one for one in block.scope.sources if _late(one, top, block, facts)}
    moved = [(name, value) for name, value in top.outputs if _source_of(value, block) in late]
    moved = [(name, value) for name, value in moved if not _held(value, top, late, block)]
    used = {_source_of(value, block) for _, value in moved}
    if not moved:
        return None
    why = "; ".join(f"the primary key finds each row of {name} again" for name in sorted(filter(None, used)))
    late = {name: one for name, one in late.items() if name in used}
    return Changed(_rebuilt(block, top, late, {name for name, _ in moved}), why)


def _taken_apart(block: Block) -> _Top | None:
    select = block.select
    outputs = _outputs(block)
    sorts: list[tuple[Tree, Tree]] = []
    for item in select.trees("sort_clause"):
        node = item.tree("node")
        key = qualified(meant(node, select), block.scope) if node is not None else None
        if key is None or not (any(True for _ in columns(key)) or any(True for _ in aggregates(key))):
            return None
        sorts.append((item, key))
    items = select.trees("group_clause")
    groups = [qualified(meant(item, select), block.scope) for item in items if item.kind != "GroupingSet"]
    known = tuple(one for one in groups if one is not None)
    if outputs is None or len(known) < len(items) or len(dict(outputs)) < len(outputs):
        return None
    if not items and any(True for _, value in outputs for _ in aggregates(value)):
        return None
    return _Top(tuple(outputs), tuple(sorts), known)


def _outputs(block: Block) -> list[tuple[str, Tree]] | None:
    """Each output with its name, * as what it stands for."""
    found: list[tuple[str, Tree]] = []
    for target in block.select.trees("target_list"):
        value, name = target.tree("val"), output_name(target)
        if value is None:
            return None
        whole = qualified(value, block.scope) if name is not None else None
        several = _starred(value, block) if name is None else None if whole is None else [(name, whole)]
        if several is None:
            return None
        found.extend(several)
    return found


def _starred(value: Tree, block: Block) -> list[tuple[str, Tree]] | None:
    if value.kind != "ColumnRef":
        return None
    words = names(value, star=True)
    wanted = [one for one in block.scope.sources if len(words) == 1 or one.name == words[0]]
    if any(one.columns is None for one in wanted):
        return None
    return [(name, column_ref(one.name, name)) for one in wanted for name in one.columns or ()]


def _source_of(value: Tree, block: Block) -> str | None:
    """The one source whose plain columns an expression is made of."""
    if any(True for _ in aggregates(value)) or any(node.kind == "SubLink" for node in value.walk()):
        return None
    found = [block.scope.find(ref) for ref in columns(value)]
    sources = {one.source.name for one in found if one is not None and not one.depth}
    whole = len(sources) == 1 and all(one is not None and not one.depth for one in found)
    return next(iter(sources)) if whole else None


def _late(source: Source, top: _Top, block: Block, facts: Facts) -> bool:
    """Whether the rows of a table can be found again by what the top keeps of them."""
    if source.table is None or not source.table.primary_key:
        return False
    if not top.groups:
        return facts.primary_key(source.table, source.table.primary_key)
    grouped = [block.scope.find(one) for one in top.groups if one.kind == "ColumnRef"]
    held = {one.name for one in grouped if one is not None and one.source is source}
    return facts.primary_key(source.table, held) and set(source.table.primary_key) <= held


def _held(value: Tree, top: _Top, late: dict[str, Source], block: Block) -> bool:
    """Whether an output is there before the top anyway: it is ordered by, or nothing but a key."""
    if any(value == key for _, key in top.sorts):
        return True
    found = block.scope.find(value) if value.kind == "ColumnRef" else None
    return found is not None and found.name in _key(late[found.source.name])


def _key(source: Source) -> tuple[str, ...]:
    return source.table.primary_key if source.table is not None else ()


def _rebuilt(block: Block, top: _Top, late: dict[str, Source], moved: set[str]) -> Tree:
    select = block.select
    name = free_name("top", select)
    inside: dict[str, Tree] = {given: value for given, value in top.outputs if given not in moved}
    kept = dict(inside)
    by_text = {write(value): given for given, value in inside.items()}

    def within(value: Tree) -> str:
        """The name under which the inner query gives a value."""
        text = write(value)
        if text not in by_text:
            words = names(value) if value.kind == "ColumnRef" else ()
            by_text[text] = _free(words[-1] if words else "key", {*inside, *moved})
            inside[by_text[text]] = value
        return by_text[text]

    quals: list[tuple[Source, Tree | None]] = []
    for source in late.values():
        same = [
            compared(column_ref(source.name, key), "=", column_ref(name, within(column_ref(source.name, key))))
            for key in _key(source)
        ]
        quals.append((source, all_of(same)))
    sorts = tuple(item.replaced(node=column_ref(name, within(key))) for item, key in top.sorts)
    groups = tuple(one for one in top.groups if not _dropped(one, late, block, inside))
    inner_sorts = tuple(item.replaced(node=key) for item, key in top.sorts)
    inner = select.replaced(
        target_list=tuple(output(value, given) for given, value in inside.items()),
        group_clause=groups or None, sort_clause=inner_sorts, with_clause=None,
    )  # fmt: skip
    sources: Tree = aliased(inner, name)
    for source, condition in quals:
        kind = "JOIN_LEFT" if source.outer else "JOIN_INNER"
        sources = joined(kind, sources, _table(select, source), condition)
    targets = [
        output(value if given in moved else column_ref(name, given if given in kept else within(value)), given)
        for given, value in top.outputs
    ]
    return selected(targets, (sources,)).replaced(sort_clause=sorts, with_clause=select.get("with_clause"))


def _free(wanted: str, taken: set[str]) -> str:
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def _dropped(key: Tree, late: dict[str, Source], block: Block, inside: dict[str, Tree]) -> bool:
    """Whether a group key is a column that is read afterwards, and that the primary key decides."""
    found = block.scope.find(key) if key.kind == "ColumnRef" else None
    if found is None or found.source.name not in late or key in inside.values():
        return False
    return found.name not in _key(late[found.source.name])


def _table(select: Tree, source: Source) -> Tree:
    """The table as FROM names it."""
    for item in select.trees("from_clause"):
        for node in item.walk():
            alias = node.tree("alias")
            named = alias.text("aliasname") if alias is not None else node.text("relname")
            if node.kind == "RangeVar" and named == source.name:
                return node
    raise LookupError(source.name)  # every source was read out of this FROM
