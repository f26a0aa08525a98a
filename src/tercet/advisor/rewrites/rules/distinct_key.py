"""DISTINCT goes where the outputs hold a key: no row can come twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.rule import Block, Changed

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows without sorting or hashing them all."""
    clause = block.select.trees("distinct_clause")
    if not clause or clause[0].kind != "Null":
        return None
    plain = block.select.replaced(distinct_clause=None)
    if not facts.steady(plain) or not facts.distinct_rows(plain, block.scope):
        return None
    return Changed(plain, "its outputs hold a key of every table, so no row comes twice")
