"""x IN (SELECT y …) taken apart, for the rules that say it as EXISTS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import compared, names_within, one, qualified, simple
from tercet.advisor.rewrites.sources import Scope, columns, names, scope_of
from tercet.sql.condition import all_of, conjuncts

if TYPE_CHECKING:
    from tercet.advisor.rewrites.rule import Block
    from tercet.sql.tree import Tree


@dataclass(frozen=True, slots=True)
class Matching:
    """The two sides of an IN, and the query that has a row exactly where they are equal."""

    asked: Tree
    answered: Tree
    scope: Scope
    select: Tree


def matching(link: Tree, block: Block) -> Matching | None:
    """The parts of x IN (SELECT y FROM … WHERE …); None for anything else, and where names would be confused."""
    inner, asked = link.tree("subselect"), link.tree("testexpr")
    if link.kind != "SubLink" or link.text("sub_link_type") != "ANY_SUBLINK" or inner is None or asked is None:
        return None
    if link.get("oper_name") or asked.kind != "ColumnRef":
        return None
    bare = inner.replaced(distinct_clause=None) if not _distinct_on(inner) else inner
    found = block.scope.find(asked)
    targets = inner.trees("target_list")
    if not simple(bare) or len(targets) != 1 or found is None or found.depth:
        return None
    scope = scope_of(inner, block.catalog, block.scope)
    value = targets[0].tree("val")
    here = qualified(asked, block.scope)
    if value is None or here is None or value.kind != "ColumnRef" or found.source.name in names_within(inner):
        return None
    there = qualified(value, scope)
    if there is None or not scope.local(value) or any(_dangling(ref, scope) for ref in columns(inner)):
        return None
    where = all_of((*conjuncts(inner.tree("where_clause")), compared(there, "=", here)))
    return Matching(here, value, scope, bare.replaced(target_list=one(), where_clause=where))


def _distinct_on(select: Tree) -> bool:
    return any(one.kind != "Null" for one in select.trees("distinct_clause"))


def _dangling(ref: Tree, scope: Scope) -> bool:
    """Whether nobody knows what a name means."""
    return bool(names(ref)) and scope.find(ref) is None
