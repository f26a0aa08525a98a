"""A view's query read as a rollup, where it is one: the same columns, kept by what writers do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast, get_args

from tercet.errors import UsageError
from tercet.rollups.kept.rollup import Measure, Of, Parent, Rollup
from tercet.sql import Expression, Tree, View
from tercet.sql.condition import conjuncts
from tercet.sql.tree import parse, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.rollups.kept.rollup import Way
    from tercet.sql.identifier import Name

_MEND = "Keep it by refreshes: create_view, and db.keep(view, every=…)."
# All that a query may have; anything else (HAVING, LIMIT, DISTINCT, WITH …) makes another question of it.
_PARTS = frozenset({"target_list", "from_clause", "where_clause", "group_clause", "limit_option", "op"})
_CALL = frozenset({"funcname", "args", "agg_star", "funcformat"})


@dataclass(slots=True)
class _Read:
    """What has been found in a query so far: `child` is grouped, `parent` is the table beside it."""

    what: str
    child: str = ""
    parent: str = ""
    tables: dict[str, Name] = field(default_factory=dict)
    parent_key: str = ""
    child_key: str = ""
    left: bool = False
    by: dict[str, str | Expression] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    measures: dict[str, Measure] = field(default_factory=dict)
    child_where: list[str] = field(default_factory=list)
    parent_where: list[str] = field(default_factory=list)

    def no(self, why: str) -> UsageError:
        return UsageError(f"{self.what} cannot be kept by what writers do: {why}.", _MEND)


def rollup_of(view: View, *, way: Way = "delta") -> Rollup:
    """The rollup that answers as `view` does, under its name; its tables named with their schemas.

    It can be one of a single table, or of a table beside the one that its key refers to, grouped by columns and
    expressions, with counts, sums, averages, and (for way "triggers") least and greatest values. Raises UsageError
    that says why not for any other; ExtraMissing without postgast.
    """
    read = _Read(f"The view {view.qualified}")
    query = parse(view.query)
    if query.kind != "SelectStmt" or not {name for name, _ in query.parts} <= _PARTS or not query.trees("group_clause"):
        raise read.no("it is no plain SELECT … GROUP BY")
    items = query.trees("from_clause")
    if len(items) != 1:
        raise read.no("its tables are not joined by JOIN … ON")
    _from(read, items[0], query)
    _conditions(read, query.tree("where_clause"))
    _outputs(read, query)
    return _made(read, view, way)


def _made(read: _Read, view: View, way: Way) -> Rollup:
    parent = None
    if read.parent:
        where = " and ".join(read.parent_where) or None
        table = read.tables[read.parent]
        parent = Parent(table, read.parent_key, keep=read.left, columns=read.columns, where=where)
    where = " and ".join(read.child_where) or None
    # Its own indexes go along as far as they are over what is stored.
    stored = {*read.by, *(name for name, one in read.measures.items() if one.kind != "avg")}
    indexes = tuple(
        index for index in view.indexes
        if index.where is None and {*(key.of for key in index.keys), *index.include} <= stored
    )  # fmt: skip
    return Rollup(view.name, read.tables[read.child], read.by, read.measures, where, parent, way, indexes=indexes)


def _from(read: _Read, item: Tree, query: Tree) -> None:
    if item.kind == "RangeVar":
        read.child = _table(read, item)
        return
    left, right, on = item.tree("larg"), item.tree("rarg"), item.tree("quals")
    kind = item.text("jointype") or "JOIN_INNER"
    plain = left is not None and right is not None and left.kind == right.kind == "RangeVar"
    if not plain or left is None or right is None or on is None or kind not in {"JOIN_INNER", "JOIN_LEFT"}:
        raise read.no("it joins more than two tables, or in another way than JOIN and LEFT JOIN")
    sides = (_table(read, left), _table(read, right))
    read.left = kind == "JOIN_LEFT"
    measured = {_of(one) for target in query.trees("target_list") for one in _aggregated(target)} - {""}
    if len(measured) > 1 or not measured <= {*sides[read.left :]}:
        raise read.no("what it measures is not of one table, the one that is joined")
    read.child = measured.pop() if measured else sides[1]
    read.parent = sides[0] if read.child == sides[1] else sides[1]
    for one in conjuncts(on):
        pair = _pair(one)
        if pair is not None and {_of(side) for side in pair} == set(sides) and not read.child_key:
            child, above = pair if _of(pair[0]) == read.child else pair[::-1]
            read.child_key, read.parent_key = _column(child), _column(above)
        elif _only(read, one, read.child):
            read.child_where.append(_written(one))
        else:
            raise read.no("it joins by more than one equality of two columns")
    if not read.child_key:
        raise read.no("it joins by no equality of two columns")


def _conditions(read: _Read, where: Tree | None) -> None:
    for one in conjuncts(where):
        if read.parent and _only(read, one, read.parent):
            read.parent_where.append(_written(one))
        elif _only(read, one, read.child) and not read.left:
            read.child_where.append(_written(one))
        else:
            raise read.no("a condition of it is over both tables, or over one that may be missing")


def _outputs(read: _Read, query: Tree) -> None:
    groups = tuple(_meant(one, query.trees("target_list")) for one in query.trees("group_clause"))
    names = {target.tree("val"): _name(target) for target in query.trees("target_list")}
    joined = [one for one in groups if read.parent and _joining(read, one)]
    if read.parent and not joined:
        raise read.no("it is not grouped by the key of the table that it joins")
    if read.parent:
        # Either side of the join is the first key: where both are there, they are equal.
        read.by[next((names[one] for one in joined if one in names), read.child_key)] = read.child_key
    for one in groups:
        if one in joined:
            continue
        if not read.parent or _only(read, one, read.child):
            if read.left:
                raise read.no("it is grouped by columns of a table that may be missing")
            name = names.get(one)
            if name is None:
                raise read.no("it is grouped by something that it does not show")
            read.by[name] = _column(one) if one.kind == "ColumnRef" else Expression(_written(one))
        elif not (one.kind == "ColumnRef" and _of(one) == read.parent):
            raise read.no("it is grouped by an expression over the table that it joins")
    for target in query.trees("target_list"):
        _output(read, target, groups, joined)


def _meant(group: Tree, targets: Sequence[Tree]) -> Tree:
    """What GROUP BY means: the output of this number where it says one."""
    number = group.tree("ival") if group.kind == "A_Const" else None
    place = number.get("ival") if number is not None else None
    value = targets[place - 1].tree("val") if isinstance(place, int) and 0 < place <= len(targets) else None
    return value or group


def _output(read: _Read, target: Tree, groups: Sequence[Tree], joined: Sequence[Tree]) -> None:
    value, name = target.tree("val"), _name(target)
    if value is None or name in read.by:
        return
    if value in joined:
        if read.left and _of(value) == read.child:
            raise read.no("it shows the key of a row that may be missing")
        read.columns[name] = read.parent_key
    elif value.kind == "ColumnRef" and read.parent and _of(value) == read.parent:
        read.columns[name] = _column(value)
    elif value in groups:
        raise read.no("it shows one key twice")
    else:
        read.measures[name] = _measure(read, value)


def _measure(read: _Read, value: Tree) -> Measure:
    words = [one.text("sval") for one in value.trees("funcname")]
    kind = words[-1] if words and words[:-1] in ([], ["pg_catalog"]) else ""
    if value.kind != "FuncCall" or kind not in get_args(Of) or not {name for name, _ in value.parts} <= _CALL:
        raise read.no("it shows more than keys and plain count, sum, avg, min and max")
    of = value.trees("args")
    if not of:
        if read.left:
            raise read.no("count(*) counts a row that is missing as one: count a column of the joined table")
        return Measure("count")
    if len(of) != 1 or not _only(read, of[0], read.child) or (read.left and not any(map(_of, of[0].walk()))):
        raise read.no("it measures something else than values of one table")
    inside = of[0]
    # `count(1)` and the like count rows; a column is named as one.
    return Measure(cast("Of", kind), _column(inside) if inside.kind == "ColumnRef" else Expression(_written(inside)))


def _table(read: _Read, item: Tree) -> str:
    schema, name = item.text("schemaname"), item.text("relname")
    alias = item.tree("alias")
    called = alias.text("aliasname") if alias is not None else name
    if called in read.tables:
        raise read.no("two of its tables have one name")
    read.tables[called] = (schema, name) if schema else (name,)
    return called


def _aggregated(target: Tree) -> Iterator[Tree]:
    for call in target.walk():
        if call.kind == "FuncCall" and call.trees("funcname")[-1].text("sval") in get_args(Of):
            yield from (one for arg in call.trees("args") for one in arg.walk())


def _of(tree: Tree) -> str:
    """The table's name that stands before a column's; "" where none does."""
    fields = [one.text("sval") for one in tree.trees("fields")] if tree.kind == "ColumnRef" else []
    return fields[-2] if len(fields) > 1 else ""


def _column(tree: Tree) -> str:
    return tree.trees("fields")[-1].text("sval")


def _only(read: _Read, tree: Tree, table: str) -> bool:
    """Whether all columns in it are this table's, as they are written; and no query is in it."""
    nodes = [*tree.walk()]
    names = {table} if len(read.tables) > 1 else {table, ""}
    return all(_of(one) in names for one in nodes if one.kind == "ColumnRef") and not any(
        one.kind == "SubLink" for one in nodes
    )


def _joining(read: _Read, tree: Tree) -> bool:
    if tree.kind != "ColumnRef":
        return False
    return (_of(tree), _column(tree)) in {(read.parent, read.parent_key), (read.child, read.child_key)}


def _pair(tree: Tree) -> tuple[Tree, Tree] | None:
    left, right = tree.tree("lexpr"), tree.tree("rexpr")
    if tree.kind != "A_Expr" or tree.text("kind") != "AEXPR_OP" or left is None or right is None:
        return None
    equal = [one.text("sval") for one in tree.trees("name")] == ["="]
    return (left, right) if equal and left.kind == right.kind == "ColumnRef" else None


def _written(tree: Tree) -> str:
    """The SQL of it, its columns named without their table."""
    return f"({write(tree.mapped(_bare))})"


def _bare(tree: Tree) -> Tree:
    return tree.replaced(fields=tree.trees("fields")[-1:]) if tree.kind == "ColumnRef" else tree


def _name(target: Tree) -> str:
    """The name of an output column, as PostgreSQL gives it."""
    value = target.tree("val")
    if target.text("name") or value is None:
        return target.text("name")
    if value.kind == "ColumnRef":
        return _column(value)
    return value.trees("funcname")[-1].text("sval") if value.kind == "FuncCall" else "?column?"
