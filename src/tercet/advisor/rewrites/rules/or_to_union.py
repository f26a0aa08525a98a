"""OR over different columns becomes UNION ALL: each part can use an index of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import simple
from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import columns, output_name
from tercet.sql.condition import all_of, conjuncts
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts

# Each part runs the rest of the query once more.
_PARTS_MAX = 4


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows, each from the first part that takes it; later parts leave out what earlier ones have."""
    select = block.select
    core = select.replaced(sort_clause=None, limit_count=None, limit_offset=None, limit_option="LIMIT_OPTION_DEFAULT")
    if not simple(core) or not facts.steady(core) or select.text("limit_option") == "LIMIT_OPTION_WITH_TIES":
        return None
    conditions = conjuncts(select.tree("where_clause"))
    choice = next((one for one in conditions if _worth(one, block)), None)
    sorts = _sorts(select)
    if choice is None or sorts is None:
        return None
    rest = [one for one in conditions if one is not choice]
    arms: list[Tree] = []
    before: list[Tree] = []
    for part in choice.trees("args"):
        where = all_of((*rest, part, *(_not(one) for one in before)))
        arms.append(core.replaced(where_clause=where))
        before.append(part)
    union = arms[0]
    for arm in arms[1:]:
        parts = (("op", "SETOP_UNION"), ("all", True), ("larg", union), ("rarg", arm))
        union = Tree("SelectStmt", (("limit_option", "LIMIT_OPTION_DEFAULT"), *parts))
    for name in ("limit_count", "limit_offset", "limit_option"):
        union = union.replaced(**{name: select.get(name)})
    union = union.replaced(sort_clause=sorts or None)
    return Changed(union, "each part leaves out what the parts before it take")


def _worth(condition: Tree, block: Block) -> bool:
    """Whether the parts of an OR look at different columns; of the same, an index can take them at once."""
    parts = condition.trees("args")
    if condition.kind != "BoolExpr" or condition.text("boolop") != "OR_EXPR" or len(parts) > _PARTS_MAX:
        return False
    seen = []
    for part in parts:
        found = [block.scope.find(ref) for ref in columns(part)]
        if not found or any(one is None for one in found):
            return False
        seen.append({one.key for one in found if one is not None and not one.depth})
    return all(not one & other for at, one in enumerate(seen) for other in seen[at + 1 :])


def _not(condition: Tree) -> Tree:
    """condition IS NOT TRUE: also where it is NULL."""
    return Tree("BooleanTest", (("arg", condition), ("booltesttype", "IS_NOT_TRUE")))


def _sorts(select: Tree) -> tuple[Tree, ...] | None:
    """ORDER BY by the names of outputs, as a UNION wants it; None if something else is ordered by."""
    found = []
    targets = select.trees("target_list")
    for item in select.trees("sort_clause"):
        node = item.tree("node")
        value = meant(node, select) if node is not None else None
        name = next((output_name(one) for one in targets if one.tree("val") == value), None)
        if name is None or [output_name(one) for one in targets].count(name) > 1:
            return None
        ref = Tree("ColumnRef", (("fields", (Tree("String", (("sval", name),)),)),))
        found.append(item.replaced(node=ref))
    return tuple(found)
