"""FROM: what a block reads from, how it is joined, and which names that gives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.scope.block import Join, JoinKind, Source, SourceKind, column
from tercet.advisor.scope.resolving.expressions import resolved
from tercet.advisor.scope.resolving.frame import Entry
from tercet.advisor.scope.resolving.names import function
from tercet.advisor.scope.resolving.types import output_types, unique
from tercet.errors import SqlInvalid
from tercet.sql.condition import conjuncts
from tercet.sql.tree import Tree, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.advisor.catalog import Qualified, Table
    from tercet.advisor.scope.block import Block
    from tercet.advisor.scope.resolving.frame import Frame

    Query = Callable[[Tree, Frame | None], Block]

_JOINS: dict[str, JoinKind] = {
    "JOIN_INNER": "inner",
    "JOIN_LEFT": "left",
    "JOIN_RIGHT": "right",
    "JOIN_FULL": "full",
}

# The columns of PostgreSQL's own functions that have names for them; others' are named as the function.
_PAIRS = frozenset({"jsonb_each", "jsonb_each_text", "json_each", "json_each_text"})
_ELEMENTS = frozenset(
    {"jsonb_array_elements", "jsonb_array_elements_text", "json_array_elements", "json_array_elements_text"}
)
# Those whose only column is named as they are.
_PLAIN = frozenset(
    {"generate_series", "unnest", "generate_subscripts", "regexp_split_to_table", "string_to_table",
     "jsonb_object_keys", "json_object_keys", "jsonb_path_query", "regexp_matches"}
)  # fmt: skip

Part = tuple[frozenset[int], list[Entry]]


class From:
    """Adds what stands in FROM to a frame; `query` resolves a subquery inside of it."""

    def __init__(self, frame: Frame, query: Query) -> None:
        self._frame, self._query = frame, query

    def add(self, items: Sequence[Tree]) -> None:
        """The items of FROM, one after the other, each seen by the lateral ones behind it."""
        self._frame.place = "from"
        for tree in items:
            _, entries = self._item(tree)
            self._frame.entries.extend(entries)
        named = Counter((entry.alias, entry.schema) for entry in self._frame.entries if entry.named)
        for (alias, _), times in named.items():
            if times > 1:
                raise SqlInvalid(f'table name "{alias}" specified more than once')

    def target(self, tree: Tree) -> Table:
        """The table that an UPDATE, DELETE or MERGE names."""
        _, entries = self._relation(tree, written=True)
        self._frame.entries.extend(entries)
        table = self._frame.sources[-1].table
        if table is None:
            raise SqlInvalid(f'"{tree.text("relname")}" is no table; the view\'s own table is to be named')
        return table

    def _item(self, tree: Tree) -> Part:
        match tree.kind:
            case "RangeVar":
                return self._relation(tree)
            case "JoinExpr":
                return self._join(tree)
            case "RangeSubselect":
                return self._subquery(tree)
            case "RangeFunction":
                return self._function(tree)
            case "RangeTableSample":
                return self._sample(tree)
            case "RangeTableFunc" | "JsonTable":
                return self._document(tree)
        raise SqlInvalid(f"{tree.kind} in FROM is not understood")

    def _relation(self, tree: Tree, *, written: bool = False) -> Part:
        name, schema = tree.text("relname"), tree.text("schemaname")
        known = self._frame.cte(name) if not schema and not written else None
        if known is not None:
            return self._source(
                tree, "cte", known.columns, known.types, alias=name, block=known.block, cte=known.name
            )  # fmt: skip
        found, table = _find(self._frame, name, schema)
        only = not tree.get("inh")
        if table is not None:
            columns = tuple(one.name for one in table.columns)
            known_types = tuple(one.type for one in table.columns)
            return self._source(
                tree, "table", columns, known_types, alias=name, schema=found[0], table=table, only=only
            )  # fmt: skip
        block = self._view(found)
        columns, types = unique(one.name for one in block.outputs), output_types(block)
        return self._source(tree, "view", columns, types, alias=name, schema=found[0], block=block)

    def _view(self, name: Qualified) -> Block:
        """The query of a view, which sees nothing of ours."""
        return self._query(parse(self._frame.catalog.views[name]), None)

    def _subquery(self, tree: Tree) -> Part:
        inside, lateral = tree.tree("subquery"), bool(tree.get("lateral"))
        if inside is None:
            raise AssertionError(tree)
        entries = self._frame.entries
        if not lateral:
            self._frame.entries = []
        block = self._query(inside, self._frame)
        self._frame.entries, self._frame.place = entries, "from"
        columns, types = unique(one.name for one in block.outputs), output_types(block)
        kind: SourceKind = "values" if block.kind == "values" else "subquery"
        return self._source(tree, kind, columns, types, block=block, lateral=lateral)

    def _function(self, tree: Tree) -> Part:
        calls = [one for part in tree.trees("functions") for one in part.trees("items")[:1]]
        trees = tuple(resolved(one, self._frame, self._query) for one in calls)
        alias = tree.tree("alias")
        named = alias.text("aliasname") if alias is not None else ""
        name = function(calls[0]) or "function"
        given = tuple(one.text("colname") for one in tree.trees("coldeflist"))
        listed = {**dict.fromkeys(_PAIRS, ("key", "value")), **dict.fromkeys(_ELEMENTS, ("value",))}.get(name)
        shown = len(alias.trees("colnames")) if alias is not None else 0
        columns = given or listed or ((named or name,) if len(calls) == 1 else ())
        ordinality = bool(tree.get("ordinality"))
        loose = not given and not listed and name not in _PLAIN
        if len(columns) < shown - ordinality:
            # How many there are shows in the names that they are given.
            columns = (*columns, *(f"column{at + 1}" for at in range(len(columns), shown - ordinality)))
        columns = (*columns, "ordinality") if ordinality else columns
        return self._source(
            tree, "function", columns, (None,) * len(columns), alias=name, trees=trees, lateral=True,
            loose=loose and not shown,
        )  # fmt: skip

    def _document(self, tree: Tree) -> Part:
        """XMLTABLE and JSON_TABLE: their columns are written there."""
        word = "colname" if tree.kind == "RangeTableFunc" else "name"
        columns = tuple(one.text(word) for one in tree.trees("columns"))
        read = tree.tree("docexpr") or tree.tree("context_item")
        trees = (resolved(read, self._frame, self._query),) if read is not None else ()
        return self._source(
            tree, "function", columns, (None,) * len(columns), trees=trees, lateral=True, loose=True
        )  # fmt: skip

    def _sample(self, tree: Tree) -> Part:
        inside = tree.tree("relation")
        if inside is None:
            raise AssertionError(tree)
        numbers, entries = self._item(inside)
        (number,) = numbers
        self._frame.sources[number] = replace(self._frame.sources[number], sampled=True)
        return numbers, entries

    def _source(
        self, tree: Tree, kind: SourceKind, columns: tuple[str, ...], types: tuple[str | None, ...], *,
        alias: str = "", schema: str = "", table: Table | None = None, block: Block | None = None, cte: str = "",
        trees: tuple[Tree, ...] = (), lateral: bool = False, only: bool = False, loose: bool = False,
    ) -> Part:  # fmt: skip
        given = tree.tree("alias")
        number = len(self._frame.sources)
        names = tuple(one.text("sval") for one in given.trees("colnames")) if given is not None else ()
        if given is not None:
            alias, schema = given.text("aliasname"), ""
        if len(names) > len(columns):
            counts = f"{len(columns)} columns available but {len(names)} columns specified"
            raise SqlInvalid(f'table "{alias}" has {counts}')
        # What a subquery answers twice under one name is told apart in `columns`, and shown as it is.
        plain = tuple(one.name for one in block.outputs) if block is not None and kind != "cte" else columns
        shown = (*names, *plain[len(names) :])
        source = Source(
            number, kind, alias, columns, shown, types, table=table, block=block, cte=cte, trees=trees,
            lateral=lateral, only=only, loose=loose,
        )  # fmt: skip
        self._frame.sources.append(source)
        listed = [
            (as_shown, column(number, name, alias=alias, shown=as_shown))
            for name, as_shown in zip(columns, shown, strict=True)
        ]
        entry = Entry(
            alias, listed, schema, named=bool(alias), source=number, table=table is not None, loose=loose
        )  # fmt: skip
        return frozenset({number}), [entry]

    def _join(self, tree: Tree) -> Part:
        frame, before = self._frame, self._frame.entries
        larg, rarg = tree.tree("larg"), tree.tree("rarg")
        if larg is None or rarg is None:
            raise AssertionError(tree)
        left, left_entries = self._item(larg)
        frame.entries = [*before, *left_entries]
        right, right_entries = self._item(rarg)
        entries = [*left_entries, *right_entries]
        kind = _JOINS[tree.text("jointype")]
        using = tuple(one.text("sval") for one in tree.trees("using_clause"))
        merged: list[tuple[str, Tree]] = []
        on: list[Tree] = []
        if tree.get("is_natural"):
            theirs = {name for name, _ in _listed(right_entries)}
            using = tuple(name for name, _ in _listed(left_entries) if name in theirs)
        if using:
            merged, on = _merged(kind, using, left_entries, right_entries)
            entries = _using(tree, using, merged, left_entries, right_entries)
        elif (quals := tree.tree("quals")) is not None:
            frame.entries, frame.place = entries, "on"
            on = list(conjuncts(resolved(quals, frame, self._query)))
            frame.place = "from"
        frame.entries = before
        crossing = kind == "inner" and not using and tree.tree("quals") is None
        frame.joins.append(Join("cross" if crossing else kind, left, right, tuple(on), using))
        frame.nullable |= (right if kind in {"left", "full"} else set()) | (
            left if kind in {"right", "full"} else set()
        )
        return left | right, _aliased(tree.tree("alias"), entries)


def _find(frame: Frame, name: str, schema: str) -> tuple[Qualified, Table | None]:
    """The table or view of a name, by the search path where it has no schema."""
    catalog = frame.catalog
    for place in (schema,) if schema else (*frame.path, "pg_catalog"):
        table = catalog.tables.get((place, name))
        if table is not None or (place, name) in catalog.views:
            return (place, name), table
    for place in (schema,) if schema else frame.path:
        if (place, name) in catalog.hidden:
            raise SqlInvalid(f'permission denied for table "{place}"."{name}"')
    raise SqlInvalid(f'relation "{f"{schema}." if schema else ""}{name}" does not exist')


def _listed(entries: Sequence[Entry]) -> list[tuple[str, Tree]]:
    return [one for entry in entries if entry.open for one in entry.listed]


def _merged(
    kind: JoinKind, using: Sequence[str], left: Sequence[Entry], right: Sequence[Entry]
) -> tuple[list[tuple[str, Tree]], list[Tree]]:
    """What the columns of USING mean, and the equalities that it stands for."""
    merged: list[tuple[str, Tree]] = []
    on: list[Tree] = []
    ours, theirs = dict(_listed(left)), dict(_listed(right))
    for name in using:
        if name not in ours or name not in theirs:
            side = "left" if name not in ours else "right"
            raise SqlInvalid(f'column "{name}" specified in USING clause does not exist in {side} table')
        one, other = ours[name], theirs[name]
        equal = Tree("String", (("sval", "="),))
        on.append(Tree("A_Expr", (("kind", "AEXPR_OP"), ("name", (equal,)), ("lexpr", one), ("rexpr", other))))
        both = Tree("CoalesceExpr", (("args", (one, other)),))
        merged.append((name, both if kind == "full" else other if kind == "right" else one))
    return merged, on


def _using(
    tree: Tree, using: Sequence[str], merged: list[tuple[str, Tree]], left: Sequence[Entry], right: Sequence[Entry]
) -> list[Entry]:
    """The names of a join with USING: its columns once, and behind them what only one side has."""
    rest = [one for one in (*_listed(left), *_listed(right)) if one[0] not in using]
    shut = [_shut(entry) for entry in (*left, *right)]
    entries = [Entry("", [*merged, *rest], named=False), *shut]
    alias = tree.tree("join_using_alias")
    if alias is not None:
        entries.append(Entry(alias.text("aliasname"), merged, open=False))
    return entries


def _shut(entry: Entry) -> Entry:
    """The same entry, to be named only."""
    return Entry(
        entry.alias, entry.listed, entry.schema, open=False, named=entry.named, source=entry.source,
        table=entry.table, loose=entry.loose,
    )  # fmt: skip


def _aliased(alias: Tree | None, entries: list[Entry]) -> list[Entry]:
    """The entries of a join; with a name of its own that hides those inside."""
    if alias is None:
        return entries
    listed = _listed(entries)
    names = [one.text("sval") for one in alias.trees("colnames")]
    renamed = [(names[at] if at < len(names) else name, tree) for at, (name, tree) in enumerate(listed)]
    return [Entry(alias.text("aliasname"), renamed)]
