"""A statement read into its canonical form, or why it has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor.views.statement.safety import check_kept, check_reading
from tercet.advisor.views.statement.shape import (
    Graph,
    Shape,
    Source,
    Unmatched,
    aggregate,
    aggregates,
    called,
    conjuncts,
    equality,
    reference,
    references,
    renamed,
    twins,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Catalog, Column
    from tercet.sql import Tree

# Clauses that make another question of a SELECT.
_CLAUSES = {
    "with_clause": "it begins with WITH",
    "into_clause": "it writes (SELECT INTO)",
    "window_clause": "it has a WINDOW",
    "locking_clause": "it locks rows (FOR UPDATE)",
    "values_lists": "it is a list of VALUES",
}


def shape_of(statement: Tree, catalog: Catalog, search_path: Sequence[str] = ()) -> Shape:
    """The canonical form of a statement that sums up rows. Raises Unmatched."""
    if statement.kind != "SelectStmt" or statement.text("op") not in {"", "SETOP_NONE"}:
        raise Unmatched("it is not one SELECT")
    for clause, why in _CLAUSES.items():
        if statement.get(clause) is not None:
            raise Unmatched(why)
    reading = _Reading(catalog, search_path)
    for item in statement.trees("from_clause"):
        reading.join(item)
    predicates = reading.predicates(conjuncts(reading.resolved(statement.tree("where_clause"))))
    outputs = tuple(reading.output(target) for target in statement.trees("target_list"))
    keys, grouped = reading.keys(statement, outputs)
    having = conjuncts(reading.resolved(statement.tree("having_clause")))
    order = tuple(reading.sorted(one, outputs) for one in statement.trees("sort_clause"))
    found = reading.graph()
    known = {one.name: one for one in reading.sources.values()}
    same = twins(found, known)
    shape = Shape(
        statement=statement,
        graph=found,
        sources=known,
        grouped=grouped,
        keys=tuple(dict.fromkeys(renamed(key, same) for key in keys)),
        predicates=tuple(renamed(one, same) for one in predicates),
        outputs=tuple((name, renamed(tree, same)) for name, tree in outputs),
        having=tuple(renamed(one, same) for one in having),
        order=tuple(renamed(one, same) for one in order),
    )
    _check(shape)
    return shape


def _check(shape: Shape) -> None:
    if not shape.grouped and not shape.measures():
        raise Unmatched("it sums nothing up: an index serves it better than a view")
    for key in shape.keys:
        if not any(references(key)):
            raise Unmatched("it groups by a constant")
        check_kept(key, shape.column)
        if any(aggregates(key)):
            raise Unmatched("it groups by an aggregate")
    for measure in shape.measures():
        check_kept(measure, shape.column)
    for tree in (*shape.predicates, *shape.having, *(one for _, one in shape.outputs)):
        check_reading(tree)
    for sort in shape.order:
        _check_sort(sort)
    for limit in (shape.statement.tree("limit_count"), shape.statement.tree("limit_offset")):
        if limit is not None and any(one.kind in {"ColumnRef", "SubLink", "FuncCall"} for one in limit.walk()):
            raise Unmatched("its LIMIT is worked out")


def _check_sort(sort: Tree) -> None:
    node = sort.tree("node")
    if node is None or sort.text("sortby_dir") == "SORTBY_USING":
        raise Unmatched("it orders by an operator of its own")
    if not any(one.kind in {"ColumnRef", "FuncCall"} for one in node.walk()):
        raise Unmatched("it orders by a constant")
    check_reading(node)


@dataclass(slots=True)
class _Reading:
    """FROM as it is read: the tables by alias, and the conditions between them."""

    catalog: Catalog
    search_path: Sequence[str]
    # By alias.
    sources: dict[str, Source] = field(default_factory=dict)
    between: list[Tree] = field(default_factory=list)
    outer: list[tuple[str, frozenset[Tree]]] = field(default_factory=list)

    def join(self, item: Tree, *, optional: bool = False) -> None:
        """Take up one item of FROM with all below it."""
        if item.kind == "RangeVar":
            self._table(item, optional=optional)
            return
        if item.kind != "JoinExpr":
            raise Unmatched("something else than tables stands in FROM")
        kind, left, right = item.text("jointype"), item.tree("larg"), item.tree("rarg")
        if item.get("using_clause") or item.get("is_natural") or item.get("alias") is not None:
            raise Unmatched("a join names its columns by USING, NATURAL or an alias; write ON")
        if left is None or right is None or kind not in {"JOIN_INNER", "JOIN_LEFT", "JOIN_RIGHT"}:
            raise Unmatched("a FULL JOIN stands in it")
        if kind == "JOIN_RIGHT":
            left, right = right, left
        self.join(left)
        if kind != "JOIN_INNER" and right.kind != "RangeVar":
            raise Unmatched("several tables are joined optionally at once")
        known = set(self.sources)
        self.join(right, optional=kind != "JOIN_INNER")
        conditions = conjuncts(self.resolved(item.tree("quals")))
        if kind == "JOIN_INNER":
            self.between.extend(conditions)
            return
        (alias,) = set(self.sources) - known
        for one in conditions:
            check_kept(one, self._column)
        self.outer.append((self.sources[alias].name, frozenset(_canonical(one) for one in conditions)))

    def _table(self, item: Tree, *, optional: bool) -> None:
        name, schema = item.text("relname"), item.text("schemaname")
        places = (schema,) if schema else (*self.search_path, *self.catalog.search_path)
        table = next((one for place in places if (one := self.catalog.tables.get((place, name)))), None)
        if table is None:
            why = "is a view: ask its tables" if any(view[1] == name for view in self.catalog.views) else "is not known"
            raise Unmatched(f"{name} {why}")
        if table.row_security:
            raise Unmatched(f"{name} has row-level security, which does not apply to materialized views")
        if table.persistence == "t":
            raise Unmatched(f"{name} is a temporary table")
        if not item.get("inh"):
            raise Unmatched("it asks ONLY one table of an inheritance")
        alias = item.tree("alias")
        if alias is not None and alias.get("colnames") is not None:
            raise Unmatched("an alias renames columns")
        known = alias.text("aliasname") if alias is not None else name
        if known in self.sources:
            raise Unmatched(f"{known} stands twice in FROM")
        twins = sum(one.table.name[1] == name for one in self.sources.values())
        self.sources[known] = Source(f"{name}_{twins + 1}" if twins else name, table, optional)

    def resolved(self, tree: Tree | None) -> Tree | None:
        """The tree with each column written by the canonical name of its table."""
        return None if tree is None else tree.mapped(self._resolve)

    def _resolve(self, tree: Tree) -> Tree:
        if tree.kind == "FuncCall":
            return tree.replaced(funcformat="COERCE_EXPLICIT_CALL") if aggregate(tree) else tree
        if tree.kind != "ColumnRef":
            return tree
        names = [one.text("sval") for one in tree.trees("fields") if one.kind == "String"]
        if len(names) != len(tree.trees("fields")):
            raise Unmatched("it takes all columns (*)")
        *alias, name = names
        if len(alias) > 1:
            raise Unmatched("a column is written with its schema; give the table an alias")
        places = [self.sources[alias[0]]] if alias and alias[0] in self.sources else []
        places = places or ([] if alias else [*self.sources.values()])
        found = [one for one in places if one.table.column(name) is not None]
        if len(found) != 1:
            raise Unmatched(f"the column {'.'.join(names)} is not known, or stands in several tables")
        return reference(found[0].name, name)

    def _column(self, ref: Tree) -> Column | None:
        first, second = ref.trees("fields")
        places = (one for one in self.sources.values() if one.name == first.text("sval"))
        return next(places).table.column(second.text("sval"))

    def predicates(self, conditions: tuple[Tree, ...]) -> tuple[Tree, ...]:
        """The conditions on rows; those between tables become part of what is joined."""
        optional = {one.name for one in self.sources.values() if one.optional}
        kept: list[Tree] = []
        between, self.between = self.between, []
        for one in (*between, *conditions):
            touched = {ref.trees("fields")[0].text("sval") for ref in references(one)}
            if len(touched) > 1 and not touched & optional and not any(t.kind == "ParamRef" for t in one.walk()):
                check_kept(one, self._column)
                self.between.append(one)
            elif one in between and touched & optional:
                raise Unmatched("an inner join rests on a table that is joined optionally before")
            else:
                kept.append(one)
        return tuple(dict.fromkeys(kept))

    def graph(self) -> Graph:
        """What is joined with what."""
        tables = tuple(sorted((one.name, one.table.name) for one in self.sources.values()))
        return Graph(
            tables,
            frozenset(_canonical(one) for one in self.between),
            tuple(sorted(self.outer, key=lambda one: one[0])),
        )

    def output(self, target: Tree) -> tuple[str, Tree]:
        """The name and the tree of one output."""
        tree = self.resolved(target.tree("val"))
        if tree is None:
            raise Unmatched("an output is empty")
        return target.text("name") or output_name(target.tree("val") or tree), tree

    def keys(self, statement: Tree, outputs: tuple[tuple[str, Tree], ...]) -> tuple[tuple[Tree, ...], bool]:
        """The expressions that it groups by, and whether it groups at all; DISTINCT groups by its outputs."""
        clause, distinct = statement.trees("group_clause"), statement.trees("distinct_clause")
        if any(one.kind != "Null" for one in distinct):
            raise Unmatched("DISTINCT ON takes one row of many by their order")
        if distinct:
            if clause or any(any(aggregates(tree)) for _, tree in outputs):
                raise Unmatched("DISTINCT stands above a grouping")
            return tuple(tree for _, tree in outputs), True
        return tuple(self._meant(one, outputs, columns_first=True) for one in clause), bool(clause)

    def sorted(self, sort: Tree, outputs: tuple[tuple[str, Tree], ...]) -> Tree:
        """One key of ORDER BY, with what it means in place of an output's name or number."""
        node = sort.tree("node")
        if node is None:
            raise Unmatched("it orders by nothing")
        return sort.replaced(node=self._meant(node, outputs, columns_first=False))

    def _meant(self, tree: Tree, outputs: tuple[tuple[str, Tree], ...], *, columns_first: bool) -> Tree:
        """The expression behind a number, an output's name, or itself, as PostgreSQL reads GROUP BY and ORDER BY."""
        number = tree.tree("ival")
        if tree.kind == "A_Const" and number is not None:
            place = number.get("ival")
            if not isinstance(place, int) or not 1 <= place <= len(outputs):
                raise Unmatched("it groups or orders by the number of no output")
            return outputs[place - 1][1]
        fields = tree.trees("fields")
        if tree.kind == "ColumnRef" and len(fields) == 1:
            name = fields[0].text("sval")
            column = any(one.table.column(name) is not None for one in self.sources.values())
            alike = [one for output, one in outputs if output == name]
            if alike and not (columns_first and column):
                return alike[0]
        found = self.resolved(tree)
        return found if found is not None else tree


def output_name(tree: Tree) -> str:
    """The name that PostgreSQL gives an output that has none."""
    inner, name = None, "?column?"
    if tree.kind == "ColumnRef":
        name = tree.trees("fields")[-1].text("sval")
    elif tree.kind == "FuncCall":
        name = called(tree).rpartition(".")[2]
    elif tree.kind == "TypeCast":
        into, inner = tree.tree("type_name"), tree.tree("arg")
        name = into.trees("names")[-1].text("sval") if into is not None else name
    elif tree.kind == "CaseExpr":
        name, inner = "case", tree.tree("defresult")
    elif tree.kind == "MinMaxExpr":
        name = "least" if tree.text("op") == "IS_LEAST" else "greatest"
    elif tree.kind == "A_Expr" and tree.text("kind") == "AEXPR_NULLIF":
        name = "nullif"
    elif tree.kind == "CoalesceExpr":
        name = "coalesce"
    within = output_name(inner) if inner is not None else "?column?"
    return name if within == "?column?" else within


def _canonical(tree: Tree) -> Tree:
    """An equality with its sides in one order, whichever way it was written."""
    sides = equality(tree)
    if sides is None:
        return tree
    left, right = sorted(sides, key=str)
    return tree.replaced(lexpr=left, rexpr=right)
