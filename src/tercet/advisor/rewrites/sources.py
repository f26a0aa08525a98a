"""A SELECT read against the catalog: which table each name means, and what may be NULL there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.catalog import Catalog, Column, Table
    from tercet.sql.tree import Tree

COUNTS = frozenset({"count"})
# Aggregates that answer NULL where they saw no row, or only NULLs.
NULLABLE_AGGREGATES = frozenset(
    {
        "sum", "avg", "min", "max", "array_agg", "string_agg", "json_agg", "jsonb_agg", "bool_and", "bool_or", "every",
        "bit_and", "bit_or", "bit_xor", "stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp",
        "json_object_agg", "jsonb_object_agg", "xmlagg", "any_value", "range_agg", "mode", "percentile_cont",
        "percentile_disc", "corr", "covar_pop", "covar_samp", "regr_slope", "regr_intercept", "regr_r2",
    }
)  # fmt: skip
AGGREGATES = COUNTS | NULLABLE_AGGREGATES | {"regr_count", "rank", "dense_rank", "percent_rank", "cume_dist"}


@dataclass(frozen=True, slots=True)
class Source:
    """One thing in FROM: a table of the catalog, a query, or something that nobody can look into.

    `outer` says that a join may fill its columns with NULLs.
    """

    name: str
    table: Table | None = None
    select: Tree | None = None
    # Names of its columns; None if nobody knows them.
    columns: tuple[str, ...] | None = None
    outer: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A column that a name means, and where."""

    source: Source
    name: str
    # None where the source is a query.
    column: Column | None
    # How many queries further out it was found.
    depth: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by in its own query."""
        return self.source.name, self.name

    @property
    def not_null(self) -> bool:
        """Whether the catalog promises that it is never NULL there."""
        return self.column is not None and self.column.not_null and not self.source.outer


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that one SELECT can use."""

    sources: tuple[Source, ...]
    outer: Scope | None = None
    # WITH queries by name, with the names of their columns if known.
    queries: tuple[tuple[str, tuple[str, ...] | None], ...] = field(default=())
    # Something in FROM could not be read: a plain name may be its.
    blind: bool = False

    def source(self, name: str) -> Source | None:
        """The source of this name in this very query."""
        return next((one for one in self.sources if one.name == name), None)

    def find(self, ref: Tree) -> Found | None:
        """What a ColumnRef means; None if that cannot be told for certain."""
        words = names(ref)
        if not words or len(words) > 2:  # noqa: PLR2004 - a schema before the table is not read
            return None
        if len(words) == 1:
            return self._plain(words[0], 0)
        return self._of(words[0], words[1], 0)

    def local(self, tree: Tree) -> bool | None:
        """Whether all columns in an expression are this query's own; None if one is unknown."""
        found = [self.find(ref) for ref in columns(tree)]
        if any(one is None for one in found):
            return None
        return all(one is not None and one.depth == 0 for one in found)

    def _plain(self, name: str, depth: int) -> Found | None:
        if self.blind:
            return None
        holders = [one for one in self.sources if one.columns is not None and name in one.columns]
        if len(holders) == 1:
            return _found(holders[0], name, depth)
        if holders or any(one.columns is None for one in self.sources) or self.outer is None:
            return None
        return self.outer._plain(name, depth + 1)  # noqa: SLF001 - its own kind

    def _of(self, source: str, name: str, depth: int) -> Found | None:
        holder = self.source(source)
        if holder is None:
            return None if self.outer is None else self.outer._of(source, name, depth + 1)  # noqa: SLF001 - its own kind
        if holder.columns is None or name not in holder.columns:
            return None
        return _found(holder, name, depth)


def _found(source: Source, name: str, depth: int) -> Found:
    return Found(source, name, source.table.column(name) if source.table else None, depth)


def scope_of(select: Tree, catalog: Catalog, outer: Scope | None = None) -> Scope:
    """The names that a SELECT can use, those of the queries around it behind them."""
    queries = outer.queries if outer else ()
    with_clause = select.tree("with_clause")
    for query in with_clause.trees("ctes") if with_clause else ():
        body = query.tree("ctequery")
        given = tuple(one.text("sval") for one in query.trees("aliascolnames"))
        known = given or (outputs(body, catalog) if body is not None else None)
        queries = ((query.text("ctename"), known), *queries)
    reader = _Reader(catalog, queries)
    for item in select.trees("from_clause"):
        reader.read(item, outer=False)
    return Scope(tuple(reader.sources), outer, queries, reader.blind)


class _Reader:
    """Gathers the sources of a FROM."""

    def __init__(self, catalog: Catalog, queries: tuple[tuple[str, tuple[str, ...] | None], ...]) -> None:
        self.catalog, self.queries = catalog, queries
        self.sources: list[Source] = []
        self.blind = False

    def read(self, item: Tree, *, outer: bool) -> None:
        if item.kind == "JoinExpr":
            self._join(item, outer=outer)
        elif item.kind == "RangeVar":
            self.sources.append(self._table(item, outer=outer))
        elif item.kind == "RangeSubselect" and (alias := item.tree("alias")) is not None:
            select = item.tree("subquery")
            named = tuple(one.text("sval") for one in alias.trees("colnames"))
            known = outputs(select, self.catalog) if select is not None else None
            if named and known is not None:
                known = (*named, *known[len(named) :])
            self.sources.append(Source(alias.text("aliasname"), None, select, known, outer))
        else:
            self.blind = True

    def _join(self, item: Tree, *, outer: bool) -> None:
        kind = item.text("jointype")
        for side, name in (("larg", "JOIN_RIGHT"), ("rarg", "JOIN_LEFT")):
            below = item.tree(side)
            if below is not None:
                self.read(below, outer=outer or kind in {name, "JOIN_FULL"})
        # USING and NATURAL melt two columns into one; an alias hides the names below it.
        if item.get("using_clause") or item.get("is_natural") or item.get("alias"):
            self.blind = True

    def _table(self, item: Tree, *, outer: bool) -> Source:
        alias = item.tree("alias")
        name = alias.text("aliasname") if alias else item.text("relname")
        schema = item.text("schemaname") or None
        if schema is None:
            for query, known in self.queries:
                if query == item.text("relname"):
                    return Source(name, None, None, known, outer)
        table = self.catalog.find(item.text("relname"), schema)
        # ONLY leaves out rows that keys and foreign keys speak of; renamed columns are not followed.
        if table is None or not item.get("inh") or (alias is not None and alias.trees("colnames")):
            return Source(name, None, None, None, outer)
        return Source(name, table, None, tuple(column.name for column in table.columns), outer)


def outputs(select: Tree, catalog: Catalog) -> tuple[str, ...] | None:
    """The names of a query's columns; None where a * or a missing name hides them."""
    while select.kind == "SelectStmt" and select.text("op") not in {"", "SETOP_NONE"}:
        left = select.tree("larg")
        if left is None:
            return None
        select = left
    if select.kind != "SelectStmt" or select.get("values_lists"):
        return None
    found: list[str] = []
    for target in select.trees("target_list"):
        name = output_name(target)
        if name is not None:
            found.append(name)
            continue
        starred = _starred(target, select, catalog)
        if starred is None:
            return None
        found.extend(starred)
    return tuple(found)


def _starred(target: Tree, select: Tree, catalog: Catalog) -> list[str] | None:
    value = target.tree("val")
    if value is None or value.kind != "ColumnRef":
        return None
    scope = scope_of(select, catalog)
    words = names(value, star=True)
    wanted = [one for one in scope.sources if len(words) == 1 or one.name == words[0]]
    if scope.blind or not wanted or any(one.columns is None for one in wanted):
        return None
    return [name for one in wanted for name in one.columns or ()]


def output_name(target: Tree) -> str | None:
    """The name that PostgreSQL gives an output; None for a *, and for what it would name itself by rules of its own."""
    if target.text("name"):
        return target.text("name")
    value = target.tree("val")
    if value is None:
        return None
    if value.kind == "ColumnRef":
        words = names(value)
        return words[-1] if words else None
    if value.kind == "FuncCall" and value.text("funcformat") == "COERCE_EXPLICIT_CALL":
        return function(value)
    if value.kind == "CoalesceExpr":
        return "coalesce"
    return None


def names(ref: Tree, *, star: bool = False) -> tuple[str, ...]:
    """The words of a ColumnRef; none if it is a *, unless that is asked for as "*"."""
    found = []
    for word in ref.trees("fields"):
        if word.kind == "String":
            found.append(word.text("sval"))
        elif not star:
            return ()
        else:
            found.append("*")
    return tuple(found)


def function(call: Tree) -> str:
    """The name of the function that is called, without pg_catalog; "" for one of another schema, or no call."""
    words = [one.text("sval") for one in call.trees("funcname")] if call.kind == "FuncCall" else []
    if len(words) == 2 and words[0] == "pg_catalog":  # noqa: PLR2004 - schema and name
        words = words[1:]
    return words[0] if len(words) == 1 else ""


def operator(tree: Tree) -> str:
    """The operator of a plain comparison or sum; "" for anything else."""
    words = tree.trees("name") if tree.kind == "A_Expr" and tree.text("kind") == "AEXPR_OP" else ()
    return words[0].text("sval") if len(words) == 1 else ""


def columns(tree: Tree, *, within: bool = True) -> Iterator[Tree]:
    """The ColumnRefs of an expression; `within` False leaves out those of queries inside of it."""
    if tree.kind == "ColumnRef":
        yield tree
        return
    if not within and tree.kind == "SelectStmt":
        return
    for one in tree.below():
        yield from columns(one, within=within)


def aggregates(tree: Tree) -> Iterator[Tree]:
    """The aggregate calls of an expression, without those of queries inside of it and without window functions."""
    if tree.kind == "SelectStmt":
        return
    if tree.kind == "FuncCall" and tree.tree("over") is None and function(tree) in AGGREGATES:
        yield tree
        return
    for one in tree.below():
        yield from aggregates(one)


def blocks(tree: Tree, catalog: Catalog, outer: Scope | None = None) -> Iterator[tuple[Tree, Scope]]:
    """Each SELECT of a statement with its names, the outermost first; the arms of a UNION are SELECTs too."""
    if tree.kind == "SelectStmt":
        scope = scope_of(tree, catalog, outer)
        yield tree, scope
        outer = scope
    for one in tree.below():
        yield from blocks(one, catalog, outer)
