"""An aggregate asked once for each row becomes one grouped query that is joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import aliased, column_ref, compared, free_name, output, qualified
from tercet.advisor.rewrites.proved import COMPARISONS
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import aggregates, operator, scope_of
from tercet.sql.condition import all_of, conjuncts
from tercet.sql.tree import Tree, write

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.advisor.rewrites.sources import Scope

_UNFIT = (
    "distinct_clause", "group_clause", "having_clause", "limit_count", "limit_offset", "sort_clause", "with_clause",
    "values_lists", "locking_clause", "window_clause",
)  # fmt: skip


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows: where the aggregate has no rows it is NULL, which no comparison takes, and the join has none."""
    select = block.select
    conditions = conjuncts(select.tree("where_clause"))
    if _starred(select) or select.text("op") not in {"", "SETOP_NONE"} or select.get("locking_clause"):
        return None
    for one in conditions:
        for side in ("lexpr", "rexpr"):
            link = one.tree(side)
            if operator(one) not in COMPARISONS or link is None or link.text("sub_link_type") != "EXPR_SUBLINK":
                continue
            name = free_name("grouped", select)
            found = _grouped(link, block, facts, name)
            if found is None:
                continue
            grouped, keys = found
            joined = one.replaced(**{side: column_ref(name, "tercet_value")})
            where = all_of((*(other for other in conditions if other is not one), *keys, joined))
            items = (*select.trees("from_clause"), aliased(grouped, name))
            why = "the aggregate is NULL where it has no rows, and is compared"
            return Changed(select.replaced(from_clause=items, where_clause=where), why)
    return None


def _starred(select: Tree) -> bool:
    """Whether a * would show the columns of what is joined."""
    values = [value for target in select.trees("target_list") if (value := target.tree("val")) is not None]
    return any(len(words) == 1 and words[0].kind == "A_Star" for value in values if (words := value.trees("fields")))


def _grouped(link: Tree, block: Block, facts: Facts, name: str) -> tuple[Tree, list[Tree]] | None:
    """The query grouped by the columns that tie it to the outer one, and the conditions of the join."""
    inner = link.tree("subselect")
    targets = inner.trees("target_list") if inner is not None else ()
    value = targets[0].tree("val") if len(targets) == 1 else None
    if inner is None or value is None or inner.text("op") not in {"", "SETOP_NONE"}:
        return None
    if any(inner.get(part) for part in _UNFIT) or not facts.steady(inner) or not facts.null_when_empty(value):
        return None
    if not any(True for _ in aggregates(value)):
        return None
    scope = scope_of(inner, block.catalog, block.scope)
    ties: list[tuple[Tree, Tree]] = []
    rest: list[Tree] = []
    for one in conjuncts(inner.tree("where_clause")):
        tie = _tie(one, scope, block)
        if tie is not None:
            ties.append(tie)
        elif scope.local(one) and not any(node.kind == "SubLink" for node in one.walk()):
            rest.append(one)
        else:
            return None
    others = (value, *(item for item in inner.trees("from_clause")))
    if not ties or any(not scope.local(one) for one in others):
        return None
    keys = [output(mine, f"tercet_key_{number}") for number, (mine, _) in enumerate(ties, 1)]
    grouped = inner.replaced(
        target_list=(*keys, output(value, "tercet_value")),
        where_clause=all_of(rest),
        group_clause=tuple({write(mine): mine for mine, _ in ties}.values()),
    )
    return grouped, [
        compared(column_ref(name, f"tercet_key_{number}"), "=", theirs) for number, (_, theirs) in enumerate(ties, 1)
    ]


def _tie(condition: Tree, scope: Scope, block: Block) -> tuple[Tree, Tree] | None:
    """The inner and the outer column of an equality between both queries."""
    left, right = condition.tree("lexpr"), condition.tree("rexpr")
    if operator(condition) != "=" or left is None or right is None:
        return None
    for mine, theirs in ((left, right), (right, left)):
        if mine.kind != "ColumnRef" or theirs.kind != "ColumnRef":
            return None
        here, there = scope.find(mine), scope.find(theirs)
        if here is not None and there is not None and not here.depth and there.depth == 1:
            outer = qualified(column_ref(there.source.name, there.name), block.scope)
            return None if outer is None else (mine, outer)
    return None
