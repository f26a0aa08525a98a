"""What is asked of the sources of every block, with what is asked of a view or a subquery from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.scope.block import BLOCK, COLUMN, reference
from tercet.advisor.scope.facts import is_volatile, needs
from tercet.advisor.scope.predicates import of, predicates, together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.scope.block import Block, Source
    from tercet.advisor.scope.predicate import Predicate
    from tercet.sql.tree import Tree


def asked(block: Block) -> Iterator[tuple[Block, tuple[Predicate, ...]]]:
    """Each block of a statement with its predicates and those that PostgreSQL pushes down into it.

    A condition on a view, a subquery or a WITH query that is planned with its user counts inside of it, as far as it
    may: not beyond LIMIT; beyond GROUP BY, DISTINCT and windows on their keys only. A join with one that is nothing
    but a selection is told there as one with a block further out. A WITH query that nobody uses is left out.
    """
    yield from _asked(block, (), frozenset())


def _asked(
    block: Block, pushed: Sequence[Tree], inlined: frozenset[int]
) -> Iterator[tuple[Block, tuple[Predicate, ...]]]:
    told = list(predicates(block))
    if not block.operands:  # a set operation reads nothing itself
        told += [one for tree in pushed for one in of(tree, block)]
    yield block, together(told)
    inlined |= {id(one.block) for one in block.ctes if one.inlined}
    for cte in block.ctes:
        if not cte.inlined and (cte.uses or cte.block.kind not in {"select", "set", "values"}):
            yield from _asked(cte.block, (), inlined)
    for source in block.sources:
        inside = source.block
        if inside is not None and (source.kind != "cte" or id(inside) in inlined):
            yield from _asked(inside, list(_pushed(told, source, block)), inlined)
    for operand in block.operands:
        yield from _asked(operand, [one for tree in pushed for one in _into(tree, block, operand)], inlined)
    for sublink in block.sublinks:
        yield from _asked(sublink.block, (), inlined)


def _pushed(told: Sequence[Predicate], source: Source, block: Block) -> Iterator[Tree]:
    """The conditions of a block on one of its sources, as conditions inside of that."""
    inside, seen = source.block, set()
    if inside is None or inside.limit is not None or inside.offset is not None or inside.locking:
        return
    for one in told:
        for tree in one.trees if one.narrows else ():
            needed = needs(tree, block)
            fits = needed == {source.number} or (_simple(inside) and source.number in needed)
            if (
                fits
                and tree not in seen
                and not is_volatile(tree)
                and not any(part.kind == BLOCK for part in tree.walk())
            ):
                seen.add(tree)
                found = _inside(tree, source, inside)
                if found is not None:
                    yield found


def _simple(inside: Block) -> bool:
    """Whether it is planned as a part of what uses it, so that a join can reach into it."""
    if inside.operation:
        return inside.operation == "union" and inside.all
    return inside.kind == "select" and not (
        inside.grouped or inside.distinct or inside.distinct_on or inside.windows
    )  # fmt: skip


def _inside(tree: Tree, source: Source, inside: Block) -> Tree | None:
    """A condition with the source's columns replaced by what they are inside; None if it may not go there."""
    allowed = True

    def one(part: Tree) -> Tree:
        nonlocal allowed
        found = reference(part)
        if found is None:
            return part
        if found.up or found.source != source.number:
            return part.replaced(up=found.up + 1)
        output = source.output(found.column)
        if output is None:
            allowed = False
            return part
        allowed = allowed and _may(output.tree, inside)
        return output.tree

    moved = tree.mapped(one)
    return moved if allowed else None


def _may(output: Tree, inside: Block) -> bool:
    """Whether a condition on this output can be asked before the block's rows are grouped, told apart or numbered."""
    if any(part.kind == BLOCK for part in output.walk()) or is_volatile(output):
        return False
    if inside.grouped and (inside.grouping_sets is not None or output not in inside.group):
        return False
    if inside.distinct_on and output not in inside.distinct_on:
        return False
    for window in inside.windows:
        over = window.tree("over")
        if over is None or output not in over.trees("partition_clause"):
            return False
    return True


def _into(tree: Tree, block: Block, operand: Block) -> Iterator[Tree]:
    """A condition on the answer of a set operation, as one on an operand of it."""
    names = [at.column for one in block.outputs if (at := reference(one.tree)) is not None]
    allowed = operand.limit is None and operand.offset is None

    def one(part: Tree) -> Tree:
        nonlocal allowed
        found = reference(part)
        if part.kind != COLUMN or found is None:
            return part
        if found.up or found.source >= 0:
            return part.replaced(up=found.up + 1)
        output = operand.outputs[names.index(found.column)].tree
        allowed = allowed and _may(output, operand)
        return output

    moved = tree.mapped(one)
    if allowed:
        yield moved
