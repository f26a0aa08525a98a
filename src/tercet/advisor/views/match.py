"""A statement asked of a view instead of the tables: the same question, or why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor.candidate import index_name
from tercet.advisor.views.definition import determined, joined, table
from tercet.advisor.views.statement.measure import again, direct, inexact, operation
from tercet.advisor.views.statement.shape import Unmatched, aggregate, fixed, named, reference, references
from tercet.sql import Index, Key, Tree
from tercet.sql.condition import all_of
from tercet.sql.schema import Expression
from tercet.sql.tree import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tercet.advisor.views.definition import Definition
    from tercet.advisor.views.statement.shape import Shape

# An index of a view has so many columns at most: more tell nothing apart that these do not.
_KEYS_MAX = 8


@dataclass(frozen=True, slots=True)
class Match:
    """A statement over a view; `index` is what it reads the view by, if more than the view's key helps."""

    sql: str
    index: Index | None
    # Each of its groups is one row of the view, so that nothing is added up again.
    direct: bool
    conditions: tuple[str, ...]


def match(shape: Shape, definition: Definition) -> Match:
    """The statement over the view. Raises Unmatched; the graphs are equal already (see adapt)."""
    if not set(definition.baked) <= set(shape.predicates):
        lacking = [write(one) for one in definition.baked if one not in shape.predicates]
        raise Unmatched(f"the view holds only rows with {' and '.join(lacking)}")
    residual = tuple(one for one in shape.predicates if one not in definition.baked)
    pinned = [one for predicate in residual if (one := fixed(predicate)) is not None]
    # What the statement's groups and its equalities leave one value.
    known = {*shape.keys, *pinned}
    whole = determined(known, definition.sources)
    single = shape.grouped and all(
        key in known or (any(references(key)) and set(references(key)) <= whole) for key in definition.keys
    )
    return _Matching(shape, definition, single=single).done(residual)


@dataclass(slots=True)
class _Matching:
    shape: Shape
    definition: Definition
    single: bool
    kept: Mapping[Tree, Tree] = field(init=False)
    # Tables that are joined to the view when it is read.
    back: dict[str, None] = field(default_factory=dict)

    # What the view is called in the statement.
    alias: str = field(init=False)

    def __post_init__(self) -> None:
        self.alias = "v" if "v" not in self.definition.sources else self.definition.name
        self.kept = {one: reference(self.alias, name) for one, name in self.definition.names.items()}

    def done(self, residual: tuple[Tree, ...]) -> Match:
        """The whole statement, put together."""
        where = tuple(self.over(one) for one in residual)
        keys = tuple(dict.fromkeys(self.over(one) for one in self.shape.keys))
        outputs = tuple((name, self.over(tree)) for name, tree in self.shape.outputs)
        having = tuple(self.over(one) for one in self.shape.having)
        order = tuple(sort.replaced(node=self.over(_node(sort))) for sort in self.shape.order)
        targets = tuple(Tree("ResTarget", (("name", name), ("val", tree))) for name, tree in outputs)
        if self.single:
            where, having = (*where, *having), ()
        parts: dict[str, Tree | str | tuple[Tree, ...] | None] = {
            "target_list": targets,
            "from_clause": (self._from(),),
            "where_clause": all_of(where),
            "having_clause": all_of(having),
        }
        if not self.single and self.shape.grouped:
            rest = (*(one for _, one in outputs), *having, *map(_node, order))
            parts["group_clause"] = tuple(dict.fromkeys((*keys, *(one for tree in rest for one in _plain(tree, keys)))))
        if order:
            parts["sort_clause"] = order
        for name in ("limit_count", "limit_offset"):
            parts[name] = self.shape.statement.tree(name)
        parts |= {"limit_option": self.shape.statement.text("limit_option"), "op": "SETOP_NONE"}
        tree = Tree("SelectStmt", tuple((name, part) for name, part in parts.items() if part not in {None, ""}))
        return Match(write(tree), self._index(where, order), self.single, tuple(self._conditions()))

    def over(self, tree: Tree) -> Tree:
        """An expression over the tables as one over the view."""
        if tree in self.kept and not aggregate(tree):
            return self.kept[tree]
        if aggregate(tree):
            graph, sources = self.definition.graph, self.definition.sources
            if self.single:
                return direct(tree, self.kept, graph, sources)
            return again(tree, self.kept, graph, sources, alone=not self.shape.grouped)
        if tree.kind == "ColumnRef":
            return self._joined_back(tree)
        parts = tuple(
            (name, self.over(part) if isinstance(part, Tree)
             else tuple(self.over(one) if isinstance(one, Tree) else one for one in part) if isinstance(part, tuple)
             else part)
            for name, part in tree.parts
        )  # fmt: skip
        return Tree(tree.kind, parts)

    def _joined_back(self, ref: Tree) -> Tree:
        """A column that the view does not keep, of a table that is found by the key that it does."""
        source, name = named(ref)
        found = self.definition.sources[source]
        key = found.table.primary_key
        if not key or found.optional or any(reference(source, one) not in self.kept for one in key):
            raise Unmatched(f"the view does not keep {source}.{name}")
        self.back[source] = None
        return ref

    def _from(self) -> Tree:
        schema, name = self.definition.schema, self.definition.name
        tree = Tree(
            "RangeVar",
            (
                ("schemaname", schema),
                ("relname", name),
                ("inh", True),
                ("relpersistence", "p"),
                ("alias", Tree("Alias", (("aliasname", self.alias),))),
            ),
        )
        for one in self.back:
            source = self.definition.sources[one]
            on = tuple(
                operation(reference(one, column), "=", self.kept[reference(one, column)])
                for column in source.table.primary_key
            )
            tree = joined(tree, table(source), on)
        return tree

    def _index(self, where: tuple[Tree, ...], order: tuple[Tree, ...]) -> Index | None:
        """The index that answers it in its own order, or finds its rows by what is equal and what is in a range."""
        equal = [one for predicate in where if (one := fixed(predicate)) is not None and self._own(one)]
        keys = {one: Key(self._of(one)) for one in equal}
        limited = self.shape.statement.get("limit_count") is not None
        if self.single and order and limited and all(self._own(_node(sort)) for sort in order):
            for sort in order:
                keys.setdefault(_node(sort), self._key(sort))
        else:
            ranges = (self._range(predicate) for predicate in where)
            first = next((one for one in ranges if one is not None and one not in keys), None)
            if first is not None:
                keys[first] = Key(self._of(first))
        chosen = tuple(keys.values())[:_KEYS_MAX]
        if not chosen or _begins(chosen, self.definition.key):
            return None
        view = (self.definition.schema, self.definition.name)
        index = Index("unnamed", view, chosen)
        return Index(index_name(index), view, chosen)

    def _range(self, predicate: Tree) -> Tree | None:
        """The column of the view that a condition bounds."""
        sides = [side for side in (predicate.tree("lexpr"), predicate.tree("rexpr")) if side is not None]
        columns = [side for side in sides if side.kind == "ColumnRef" and self._own(side)]
        bounded = predicate.kind == "A_Expr" and (
            predicate.text("kind") in {"AEXPR_BETWEEN", "AEXPR_IN"}
            or predicate.trees("name")[0].text("sval") in {"<", "<=", ">", ">="}
        )
        return columns[0] if bounded and len(columns) == 1 else None

    def _own(self, tree: Tree) -> bool:
        """Whether it rests on columns of the view alone, and no value of the moment."""
        plain = all(one.kind not in {"ParamRef", "SQLValueFunction"} for one in tree.walk())
        refs = [named(ref)[0] for ref in references(tree)]
        return plain and bool(refs) and set(refs) == {self.alias}

    def _of(self, tree: Tree) -> str | Expression:
        """What an index holds of it: a column, or an expression over columns."""
        if tree.kind == "ColumnRef":
            return named(tree)[1]
        bare = tree.mapped(lambda one: one.replaced(fields=one.trees("fields")[1:]) if one.kind == "ColumnRef" else one)
        return Expression(write(bare))

    def _key(self, sort: Tree) -> Key:
        nulls = {"SORTBY_NULLS_FIRST": "first", "SORTBY_NULLS_LAST": "last"}.get(sort.text("sortby_nulls"))
        return Key(
            self._of(_node(sort)),
            descending=sort.text("sortby_dir") == "SORTBY_DESC",
            nulls="first" if nulls == "first" else "last" if nulls == "last" else None,
        )

    def _conditions(self) -> Iterator[str]:
        """What the equality of the two answers rests on."""
        yield "it is as old as the view's last refresh"
        if self.single:
            yield "each of its groups is one row of the view"
        else:
            yield "groups of the view are added up to its own, each aggregate by its own rule"
        if any(inexact(one, self.definition.sources) for one in self.shape.measures()):
            yield "its sums of floats may differ in their last digits, as they do from plan to plan"
        for one in self.back:
            columns = ", ".join(self.definition.sources[one].table.primary_key)
            yield f"{one} is joined when the view is read, by its primary key ({columns}): its other columns stay in it"
        limited = self.shape.statement.get("limit_count") is not None
        if limited and not self._decided():
            yield "rows that tie at its LIMIT may be others: its ORDER BY does not tell them apart"

    def _decided(self) -> bool:
        """Whether its ORDER BY puts no two rows in one place."""
        nodes = {_node(sort) for sort in self.shape.order}
        whole = determined(nodes, self.definition.sources)
        return all(key in nodes or set(references(key)) <= whole for key in self.shape.keys)


def _node(sort: Tree) -> Tree:
    node = sort.tree("node")
    return sort if node is None else node


def _plain(tree: Tree, keys: tuple[Tree, ...]) -> Iterator[Tree]:
    """The columns outside of aggregates that a GROUP BY has to name besides its keys."""
    if tree in keys or aggregate(tree):
        return
    if tree.kind == "ColumnRef":
        yield tree
    for one in tree.below():
        yield from _plain(one, keys)


def _begins(chosen: tuple[Key, ...], key: tuple[str, ...]) -> bool:
    """Whether the view's unique index serves as well."""
    plain = [one.of for one in chosen if not one.ordered]
    return len(plain) == len(chosen) and plain == list(key[: len(plain)])
