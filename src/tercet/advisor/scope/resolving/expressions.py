"""Expressions with their columns resolved, and what is found in them on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tercet.advisor.scope.block import BLOCK, Sublink, reference, references
from tercet.advisor.scope.resolving.names import function
from tercet.errors import SqlInvalid
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.advisor.scope.block import Block
    from tercet.advisor.scope.resolving.frame import Frame
    from tercet.sql.tree import One, Part

# Nothing below these names a column.
_LEAVES = frozenset({"A_Const", "ParamRef", "String", "TypeName", "Integer", "Float", "Null", "SQLValueFunction"})

_SUBLINKS: dict[str, Literal["exists", "any", "all", "scalar", "array", "row"]] = {
    "EXISTS_SUBLINK": "exists",
    "ANY_SUBLINK": "any",
    "ALL_SUBLINK": "all",
    "EXPR_SUBLINK": "scalar",
    "ARRAY_SUBLINK": "array",
    "MULTIEXPR_SUBLINK": "row",
    "ROWCOMPARE_SUBLINK": "row",
}

# PostgreSQL's own aggregates; one of another maker is known by its FILTER, DISTINCT, ORDER BY or WITHIN GROUP only.
AGGREGATES = frozenset({
    "any_value", "array_agg", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "count", "every",
    "json_agg", "json_agg_strict", "json_object_agg", "json_object_agg_strict", "json_object_agg_unique",
    "json_object_agg_unique_strict", "jsonb_agg", "jsonb_agg_strict", "jsonb_object_agg", "jsonb_object_agg_strict",
    "jsonb_object_agg_unique", "jsonb_object_agg_unique_strict", "max", "min", "range_agg", "range_intersect_agg",
    "string_agg", "sum", "xmlagg", "corr", "covar_pop", "covar_samp", "regr_avgx", "regr_avgy", "regr_count",
    "regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "stddev", "stddev_pop",
    "stddev_samp", "variance", "var_pop", "var_samp", "mode", "percentile_cont", "percentile_disc",
})  # fmt: skip
_AGGREGATE_MARKS = ("agg_star", "agg_distinct", "agg_filter", "agg_order", "agg_within_group")
_JSON_AGGREGATES = frozenset({"JsonArrayAgg", "JsonObjectAgg"})


def resolved(tree: Tree, frame: Frame, query: Callable[[Tree, Frame], Block]) -> Tree:
    """The expression with each ColumnRef turned into the column that it means; `query` resolves subqueries."""
    if tree.kind in _LEAVES:
        return tree
    if tree.kind == "ColumnRef":
        return frame.resolve(tree)
    if tree.kind == "SubLink":
        return _sublink(tree, frame, query)
    if tree.kind == "SelectStmt":
        raise SqlInvalid("a query where an expression is expected")

    def one(part: One) -> One:
        return resolved(part, frame, query) if isinstance(part, Tree) else part

    def part(value: Part) -> Part:
        return tuple(map(one, value)) if isinstance(value, tuple) else one(value)

    done = Tree(tree.kind, tuple((name, part(value)) for name, value in tree.parts))
    if tree.kind == "FuncCall":
        return _call(done, frame)
    if tree.kind in _JSON_AGGREGATES:
        frame.aggregates.append(done)
    return done


def _sublink(tree: Tree, frame: Frame, query: Callable[[Tree, Frame], Block]) -> Tree:
    test = tree.tree("testexpr")
    test = resolved(test, frame, query) if test is not None else None
    place = frame.place
    inside = tree.tree("subselect")
    if inside is None:
        raise AssertionError(tree)
    block = query(inside, frame)
    frame.place = place
    names = [one.text("sval") for one in tree.trees("oper_name")]
    kind = _SUBLINKS[tree.text("sub_link_type")]
    operator = names[-1] if names else "=" if kind == "any" else ""
    frame.sublinks.append(Sublink(kind, block, place, test, operator))
    number = Tree(BLOCK, (("number", len(frame.sublinks) - 1),))
    return tree.replaced(subselect=number, **({"testexpr": test} if test is not None else {}))


def _call(tree: Tree, frame: Frame) -> Tree:
    """A call, noted where it is one of an aggregate or over a window."""
    over = tree.tree("over")
    if over is not None:
        name = over.text("name")
        if name:
            if name not in frame.named_windows:
                raise SqlInvalid(f'window "{name}" does not exist')
            tree = tree.replaced(over=frame.named_windows[name])
        frame.windows.append(tree)
    elif is_aggregate(tree):
        _owned(tree, frame)
    return tree


def is_aggregate(tree: Tree) -> bool:
    """Whether it is a call of an aggregate, over a group or a window."""
    if tree.kind == "FuncCall":
        return function(tree) in AGGREGATES or any(tree.get(mark) for mark in _AGGREGATE_MARKS)
    return tree.kind in _JSON_AGGREGATES


def _owned(tree: Tree, frame: Frame) -> None:
    """Note an aggregate at the block whose rows it is over: one of columns further out only is that block's."""
    ups = [one.up for one in references(tree)]
    level = min(ups, default=0)
    owner: Frame | None = frame
    for _ in range(level):
        owner = owner.parent if owner is not None else None

    def nearer(part: Tree) -> Tree:
        found = reference(part)
        return part if found is None else part.replaced(up=found.up - level)

    if owner is not None:
        owner.aggregates.append(tree.mapped(nearer) if level else tree)


def integer(tree: Tree) -> int | None:
    """The number that a constant is, if it is a whole one."""
    value = tree.get("ival") if tree.kind == "A_Const" else None
    if not isinstance(value, Tree):
        return None
    found = value.get("ival") or 0
    return found if isinstance(found, int) else None
