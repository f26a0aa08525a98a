"""GROUP BY, DISTINCT ON and ORDER BY: numbers and names of outputs turned into what they stand for."""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING

from tercet.advisor.scope.block import Order, Output
from tercet.advisor.scope.resolving.expressions import integer, resolved
from tercet.errors import SqlInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.advisor.scope.block import Block
    from tercet.advisor.scope.resolving.frame import Frame
    from tercet.sql.tree import Tree

    Query = Callable[[Tree, Frame | None], Block]

Set = tuple["Tree", ...]
# As many grouping sets as PostgreSQL takes.
_SETS_MAX = 4096


class Keys:
    """Resolves the keys of one block, whose outputs are known."""

    def __init__(self, frame: Frame, query: Query, outputs: Sequence[Output]) -> None:
        self._frame, self._query, self._outputs = frame, query, outputs

    def group(self, clause: Sequence[Tree]) -> tuple[Set, tuple[Set, ...] | None]:
        """All keys of a GROUP BY, and its grouping sets if it has some."""
        self._frame.place = "group"
        items = [self._sets(one) for one in clause]
        count = 1
        for sets in items:
            count *= len(sets)
        if count > _SETS_MAX:
            raise SqlInvalid(f"too many grouping sets present (maximum {_SETS_MAX})")
        crossed = tuple(tuple(dict.fromkeys(_joined(one))) for one in product(*items))
        plain = all(one.kind != "GroupingSet" for one in clause)
        return tuple(dict.fromkeys(_joined(crossed))), None if plain else crossed

    def _sets(self, tree: Tree) -> list[Set]:
        """The grouping sets that one item of GROUP BY stands for."""
        if tree.kind != "GroupingSet":
            return [self._row(tree)]
        inside = tree.trees("content")
        match tree.text("kind"):
            case "GROUPING_SET_EMPTY":
                return [()]
            case "GROUPING_SET_SETS":
                return [one for item in inside for one in self._sets(item)]
        parts = [self._row(one) for one in inside]
        if tree.text("kind") == "GROUPING_SET_ROLLUP":
            return [_joined(parts[:end]) for end in range(len(parts), -1, -1)]
        if 2 ** len(parts) > _SETS_MAX:
            raise SqlInvalid(f"CUBE is limited to {_SETS_MAX.bit_length() - 1} elements")
        return [_joined(one) for size in range(len(parts), -1, -1) for one in combinations(parts, size)]

    def _row(self, tree: Tree) -> Set:
        if tree.kind == "RowExpr" and tree.text("row_format") == "COERCE_IMPLICIT_CAST":
            return tuple(key for one in tree.trees("args") for key in self._row(one))
        return (self._grouped(tree),)

    def _grouped(self, tree: Tree) -> Tree:
        """A key of GROUP BY: a column of FROM before an output's name."""
        ordinal = self._ordinal(tree, "GROUP BY")
        if ordinal is not None:
            return self._outputs[ordinal].tree
        name = _bare(tree)
        if name:
            found = self._frame.local([name])
            if found is not None:
                return found
            output = self._named(name, "GROUP BY")
            if output is not None:
                return self._outputs[output].tree
        return resolved(tree, self._frame, self._query)

    def order(self, clause: Sequence[Tree], *, operation: bool = False) -> tuple[Order, ...]:
        """The keys of an ORDER BY; behind a set operation they can only be outputs."""
        self._frame.place = "order"
        found = []
        for one in clause:
            key = one.tree("node")
            if key is None:
                raise AssertionError(one)
            tree, output = self._ordered(key, "ORDER BY", operation=operation)
            descending = one.text("sortby_dir") == "SORTBY_DESC" or _operator(one) in {">", "~>~"}
            nulls = one.text("sortby_nulls")
            written = nulls in {"SORTBY_NULLS_FIRST", "SORTBY_NULLS_LAST"}
            first = nulls == "SORTBY_NULLS_FIRST" if written else descending
            found.append(Order(tree, descending, first, output, written))
        return tuple(found)

    def distinct(self, clause: Sequence[Tree]) -> Set:
        """The keys of DISTINCT ON."""
        return tuple(self._ordered(one, "DISTINCT ON")[0] for one in clause)

    def _ordered(self, tree: Tree, clause: str, *, operation: bool = False) -> tuple[Tree, int | None]:
        """A key of ORDER BY: an output's name before a column of FROM."""
        at = self._ordinal(tree, clause)
        if at is None and (name := _bare(tree)):
            at = self._named(name, clause)
        if at is not None:
            return self._outputs[at].tree, at
        if operation:
            raise SqlInvalid("invalid UNION/INTERSECT/EXCEPT ORDER BY clause: only result column names can be used")
        found = resolved(tree, self._frame, self._query)
        return found, next((at for at, one in enumerate(self._outputs) if one.tree == found), None)

    def _ordinal(self, tree: Tree, clause: str) -> int | None:
        number = integer(tree)
        if number is None:
            return None
        if not 1 <= number <= len(self._outputs):
            raise SqlInvalid(f"{clause} position {number} is not in select list")
        return number - 1

    def _named(self, name: str, clause: str) -> int | None:
        found = [at for at, one in enumerate(self._outputs) if one.name == name]
        if len({self._outputs[at].tree for at in found}) > 1:
            raise SqlInvalid(f'{clause} "{name}" is ambiguous')
        return found[0] if found else None


def _bare(tree: Tree) -> str:
    """The name of a ColumnRef that is only a name."""
    fields = tree.trees("fields") if tree.kind == "ColumnRef" else ()
    return fields[0].text("sval") if len(fields) == 1 else ""


def _operator(tree: Tree) -> str:
    names = tree.trees("use_op")
    return names[-1].text("sval") if names else ""


def _joined(parts: Sequence[Set]) -> Set:
    return tuple(key for part in parts for key in part)
