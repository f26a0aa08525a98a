"""(SELECT count(*) …) > 0 becomes EXISTS: the first row answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import changed_here, exists, one, simple
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import function, operator, scope_of

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.sql.tree import Tree

# What a count is compared with, and whether that asks for rows (True) or for none (False).
_ASKED = {(">", 0): True, ("<>", 0): True, ("!=", 0): True, (">=", 1): True, ("=", 0): False, ("<", 1): False,
          ("<=", 0): False}  # fmt: skip


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same condition without counting to the end."""
    done = False

    def change(node: Tree) -> Tree | None:
        nonlocal done
        left, right = node.tree("lexpr"), node.tree("rexpr")
        number = right.tree("ival") if right is not None and right.kind == "A_Const" else None
        if left is None or number is None:
            return None
        wanted = _ASKED.get((operator(node), int(number.get("ival") or 0)))  # type: ignore[arg-type]  # an Integer's
        inner = left.tree("subselect") if left.text("sub_link_type") == "EXPR_SUBLINK" else None
        if wanted is None or inner is None or not _counts(inner, block, facts):
            return None
        done = True
        return exists(inner.replaced(target_list=one()), negated=not wanted)

    where = block.select.tree("where_clause")
    if where is None:
        return None
    changed = changed_here(where, change)
    why = "a count is above zero exactly where there is a row"
    return Changed(block.select.replaced(where_clause=changed), why) if done else None


def _counts(inner: Tree, block: Block, facts: Facts) -> bool:
    """Whether a query counts all its rows and does nothing else."""
    targets = inner.trees("target_list")
    call = targets[0].tree("val") if len(targets) == 1 else None
    if call is None or function(call) != "count" or call.get("agg_distinct") or call.get("agg_filter"):
        return False
    if call.tree("over") is not None or not simple(inner.replaced(target_list=one())) or not facts.steady(inner):
        return False
    scope = scope_of(inner, block.catalog, block.scope)
    return bool(call.get("agg_star")) or all(facts.not_null(it, scope) for it in call.trees("args"))
