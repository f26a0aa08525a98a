"""The constants of queries, by the column that they are compared with: where answers change, data must lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.proved import equalities
from tercet.advisor.rewrites.sources import blocks, columns
from tercet.errors import SqlInvalid
from tercet.sql.tree import Tree, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tercet.advisor.catalog import Catalog, Qualified, Table

Place = tuple["Qualified", str]

_COMPARING = frozenset({"A_Expr", "SubLink", "ScalarArrayOpExpr"})
_NOW = frozenset({"now", "transaction_timestamp", "statement_timestamp"})


def touched(trees: Sequence[Tree], catalog: Catalog) -> tuple[tuple[Table, ...], tuple[Qualified, ...]]:
    """The tables that these queries name, also through views, and the views, those that others rest on first."""
    tables: dict[Qualified, Table] = {}
    views: dict[Qualified, None] = {}
    for tree in trees:
        _touch(tree, catalog, tables, views, ())
    return tuple(tables.values()), tuple(views)


def _touch(
    tree: Tree,
    catalog: Catalog,
    tables: dict[Qualified, Table],
    views: dict[Qualified, None],
    above: tuple[Qualified, ...],
) -> None:
    for item in tree.walk():
        if item.kind != "RangeVar":
            continue
        name, schema = item.text("relname"), item.text("schemaname") or None
        table = catalog.find(name, schema)
        if table is not None and table.name[0] != "pg_catalog":
            tables[table.name] = table
            continue
        for place in (schema,) if schema else catalog.search_path:
            view = (place, name)
            if view in catalog.views and view not in views and view not in above:
                try:
                    _touch(parse(catalog.views[view].rstrip("; \n")), catalog, tables, views, (*above, view))
                except SqlInvalid:
                    continue
                views[view] = None
                break


def constants(trees: Sequence[Tree], catalog: Catalog) -> Mapping[Place, tuple[str, ...]]:
    """What each column is compared with, in words; columns that are held equal share theirs."""
    found: dict[Place, dict[str, None]] = {}
    pairs: list[tuple[Place, Place]] = []
    for tree in trees:
        for select, scope in blocks(tree, catalog):
            for node in _own(select):
                if node.kind not in _COMPARING:
                    continue
                places = {
                    (one.source.table.name, one.name)
                    for ref in columns(node)
                    if (one := scope.find(ref)) is not None and one.source.table is not None
                }
                for place in places:
                    found.setdefault(place, {}).update(dict.fromkeys(_words(node)))
                pairs.extend(
                    ((first.source.table.name, first.name), (second.source.table.name, second.name))
                    for first, second in equalities((node,), scope)
                    if first.source.table is not None and second.source.table is not None
                )
    for _ in range(2):  # there and back: chains of three are as long as they come
        for here, there in pairs:
            both = {**found.get(here, {}), **found.get(there, {})}
            found[here], found[there] = both, dict(both)
    return {place: tuple(words) for place, words in found.items()}


def every_constant(trees: Sequence[Tree]) -> tuple[str, ...]:
    """All constants of queries in words, wherever they stand."""
    return tuple(dict.fromkeys(word for tree in trees for word in _words(tree)))


def asks_the_clock(trees: Sequence[Tree]) -> bool:
    """Whether a query compares with the present moment."""
    return any(
        node.kind == "SQLValueFunction"
        or (node.kind == "FuncCall" and {one.text("sval") for one in node.trees("funcname")} & _NOW)
        for tree in trees
        for node in tree.walk()
    )


def _own(select: Tree) -> Iterator[Tree]:
    """The nodes of a SELECT without those of queries inside of it, but with what compares with these."""
    waiting = list(select.below())
    while waiting:
        tree = waiting.pop()
        yield tree
        waiting.extend(one for one in tree.below() if one.kind != "SelectStmt")


def _words(tree: Tree) -> Iterator[str]:
    for node in tree.walk():
        if node.kind != "A_Const":
            continue
        for field, inner in (("ival", "ival"), ("fval", "fval"), ("sval", "sval")):
            value = node.tree(field)
            if value is not None:
                yield str(value.get(inner) or ("" if field == "sval" else 0))
