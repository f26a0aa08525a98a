"""What a resolved expression depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.scope.block import BLOCK, reference
from tercet.advisor.scope.resolving.expressions import is_aggregate
from tercet.advisor.scope.resolving.names import function

if TYPE_CHECKING:
    from tercet.advisor.scope.block import Block
    from tercet.sql.tree import Tree

# PostgreSQL's own functions that answer another value at each call; a user's functions are not known.
VOLATILE = frozenset(
    {"random", "random_normal", "setseed", "clock_timestamp", "timeofday", "gen_random_uuid", "uuidv4", "uuidv7",
     "uuid_generate_v1", "uuid_generate_v4", "nextval", "currval", "lastval", "setval", "pg_sleep",
     "pg_advisory_lock", "pg_advisory_xact_lock", "pg_try_advisory_lock", "pg_try_advisory_xact_lock",
     "set_config", "txid_current", "pg_current_xact_id"}
)  # fmt: skip


def is_constant(tree: Tree) -> bool:
    """Whether a resolved expression is one value throughout the statement: constants, parameters, and calls on them.

    It holds no column, no subquery, no aggregate or window, and calls nothing that is known to answer differently
    each time.
    """
    rows = any(one.kind in {"Column", "SubLink"} or one.get("over") or is_aggregate(one) for one in tree.walk())
    return not rows and not is_volatile(tree)


def is_volatile(tree: Tree) -> bool:
    """Whether it calls something that is known to answer differently each time."""
    return any(one.kind == "FuncCall" and function(one) in VOLATILE for one in tree.walk())


def needs(tree: Tree, block: Block) -> frozenset[int]:
    """The sources of this block that an expression is of, through subqueries as well."""
    found = set()
    for one in tree.walk():
        at = reference(one)
        if at is not None and at.up == 0:
            found.add(at.source)
        elif one.kind == BLOCK:
            inside = block.sublinks[number(one)].block
            found |= {far.source for far in inside.outer if far.up == 1}
    return frozenset(found)


def correlated(tree: Tree, block: Block) -> bool:
    """Whether an expression depends on blocks further out."""
    for one in tree.walk():
        at = reference(one)
        if at is not None and at.up > 0:
            return True
        if one.kind == BLOCK and any(far.up > 1 for far in block.sublinks[number(one)].block.outer):
            return True
    return False


def number(tree: Tree) -> int:
    """Which of its block's sublinks a Tree("Block") stands for."""
    found = tree.get("number")
    return found if isinstance(found, int) else 0
