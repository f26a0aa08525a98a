"""What a statement asks with each of its parameters: of which column, and as what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.advisor import scope
from tercet.errors import SqlInvalid
from tercet.sql.tree import Tree, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.catalog import Catalog, Column
    from tercet.advisor.scope import Block, Predicate

As = Literal["value", "array", "lower", "upper", "between_lower", "between_upper", "pattern", "limit", "offset", "part"]


@dataclass(frozen=True, slots=True)
class Role:
    """A parameter's place: compared with this column (None if with none), as one end of a range, as a limit.

    "part" is one that only takes part in what is compared ("$1 + interval …"), or is compared with more than a
    column ("lower(email) = $1"): it may be of another type.
    """

    meant: As
    column: Column | None = None


def roles(sql: str, catalog: Catalog, search_path: tuple[str, ...] = ()) -> dict[int, Role]:
    """The role of each parameter of which it can be told; of none for a statement that names what is not there."""
    try:
        block = scope.resolve(parse(sql), catalog, search_path)
    except SqlInvalid:
        return {}
    found: dict[int, Role] = {}
    for inside, predicates in scope.asked(block):
        for number, role in _of_block(inside):
            found.setdefault(number, role)
        for predicate in predicates:
            for number, role in _of(predicate, inside):
                # What is compared with a column tells more than what takes part in a sum.
                if number not in found or found[number].meant == "part":
                    found[number] = role
        for number, role in _elsewhere(inside):
            found.setdefault(number, role)
    return found


def _of_block(block: Block) -> Iterator[tuple[int, Role]]:
    """LIMIT and OFFSET, and the values that are written."""
    for tree, meant in ((block.limit, "limit"), (block.offset, "offset")):
        for number in _numbers(tree) if tree is not None else ():
            yield number, Role("limit" if meant == "limit" else "offset")
    target = block.sources[0].table if block.assignments and block.sources else None
    if target is not None:
        for output in block.assignments:
            for number in _numbers(output.tree):
                yield number, Role("value", target.column(output.name))


def _elsewhere(block: Block) -> Iterator[tuple[int, Role]]:
    """What is compared with a column where it is no condition: in CASE, in an output."""
    for tree in scope.expressions(block):
        for one in tree.walk():
            left = one.tree("lexpr") if one.kind == "A_Expr" else None
            found = scope.origin(left, block) if left is not None and scope.reference(left) is not None else None
            right = one.tree("rexpr")
            if found is not None and right is not None:
                yield from _each(right, "value", found.table.column(found.column))


def _of(predicate: Predicate, block: Block) -> Iterator[tuple[int, Role]]:
    for branch in predicate.alternatives:
        for one in branch:
            yield from _of(one, block)
    column = _column(predicate, block)
    if predicate.kind == "range":
        ends = (predicate.lower, predicate.upper)
        both = None not in ends
        for end, side in zip(ends, ("lower", "upper"), strict=True):
            if end is not None:
                yield from _each(end.tree, _end(side, both=both), column)
        return
    meant: As = "pattern" if predicate.kind in {"pattern", "prefix"} else "value"
    if predicate.key is not None and scope.reference(predicate.key) is None:
        meant = "part"
    elif predicate.kind == "in" and len(predicate.values) == 1:
        meant = "array"
    for tree in predicate.values:
        yield from _each(tree, meant, column)


def _end(side: str, *, both: bool) -> As:
    if side == "lower":
        return "between_lower" if both else "lower"
    return "between_upper" if both else "upper"


def _each(tree: Tree, meant: As, column: Column | None) -> Iterator[tuple[int, Role]]:
    bare: Tree | None = tree
    while bare is not None and bare.kind == "TypeCast":
        bare = bare.tree("arg")
    for number in _numbers(tree):
        whole = (bare is not None and bare.kind == "ParamRef") or meant == "value"
        yield number, Role(meant if whole else "part", column)


def _column(predicate: Predicate, block: Block) -> Column | None:
    """The column that is asked; inside of an expression ("lower(email)") the one that it is made of."""
    if predicate.key is None:
        return None
    for tree in (predicate.key, *predicate.key.walk()):
        origin = scope.origin(tree, block) if scope.reference(tree) is not None else None
        if origin is not None:
            return origin.table.column(origin.column)
    return None


def _numbers(tree: Tree) -> Iterator[int]:
    for one in tree.walk():
        number = one.get("number") if one.kind == "ParamRef" else None
        if isinstance(number, int):
            yield number
