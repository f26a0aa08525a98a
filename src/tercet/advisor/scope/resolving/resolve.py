"""Statements resolved: PostgreSQL's own rules for names, on a tree and a catalogue instead of a server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from tercet.advisor.scope.block import Block, Cte, Output, column
from tercet.advisor.scope.resolving.expressions import resolved
from tercet.advisor.scope.resolving.frame import Frame, Known
from tercet.advisor.scope.resolving.keys import Keys
from tercet.advisor.scope.resolving.names import output_name
from tercet.advisor.scope.resolving.sources import From
from tercet.advisor.scope.resolving.types import output_types, unique
from tercet.errors import SqlInvalid
from tercet.sql.condition import conjuncts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.sql.tree import Tree

# Statements that hold the one that matters, and the field in which they do.
_WRAPPED = {
    "ExplainStmt": "query",
    "CreateTableAsStmt": "query",
    "DeclareCursorStmt": "query",
    "PrepareStmt": "query",
    "CopyStmt": "query",
    "ViewStmt": "query",
}
_OPERATIONS: dict[str, Literal["union", "intersect", "except"]] = {
    "SETOP_UNION": "union",
    "SETOP_INTERSECT": "intersect",
    "SETOP_EXCEPT": "except",
}
_MATERIALIZED: dict[str, Literal["", "always", "never"]] = {
    "CTEMaterializeDefault": "",
    "CTEMaterializeAlways": "always",
    "CTEMaterializeNever": "never",
}
# The source of a column that is the answer of a set operation itself.
ANSWER = -1


def resolve(tree: Tree, catalog: Catalog, search_path: Sequence[str] = ()) -> Block:
    """The blocks of a statement, with every column's source found as PostgreSQL would find it.

    Takes SELECT, VALUES, INSERT, UPDATE, DELETE and MERGE, and those that carry one (EXPLAIN, CREATE TABLE AS,
    DECLARE, PREPARE, COPY of a query). Views are opened: such a source has its query as block. `search_path` is the
    catalogue's own unless one is given. Whether types and functions fit is not checked; a server has to.

    Raises SqlInvalid for names that are not in the catalogue, or mean two things, and for what asks no rows.
    """
    while tree.kind in _WRAPPED:
        inside = tree.tree(_WRAPPED[tree.kind])
        if inside is None:
            raise SqlInvalid(f"{_word(tree)} of a table asks nothing that could be planned otherwise")
        tree = inside
    return _Resolver(catalog, tuple(search_path)).query(tree, None)


class _Resolver:
    """Resolves the blocks of one statement."""

    def __init__(self, catalog: Catalog, path: tuple[str, ...]) -> None:
        self._catalog, self._path = catalog, path or catalog.search_path

    def query(self, tree: Tree, parent: Frame | None) -> Block:
        """The block of a statement, or of a query inside of one."""
        frame = Frame(self._catalog, self._path, parent)
        ctes = self._with(tree, frame)
        match tree.kind:
            case "SelectStmt" if tree.text("op") in _OPERATIONS:
                block = self._operation(tree, frame)
            case "SelectStmt" if tree.trees("values_lists"):
                block = self._values(tree, frame)
            case "SelectStmt":
                block = self._select(tree, frame)
            case "InsertStmt":
                block = self._insert(tree, frame)
            case "UpdateStmt" | "DeleteStmt" | "MergeStmt":
                block = self._change(tree, frame)
            case _:
                raise SqlInvalid(f"{_word(tree)} asks no rows, so that there is nothing to advise on")
        return self._done(block, frame, ctes)

    def _done(self, block: Block, frame: Frame, ctes: Sequence[Cte]) -> Block:
        """The block with what was found on the way."""
        sources = tuple(replace(one, nullable=True) if one.number in frame.nullable else one for one in frame.sources)
        return replace(
            block,
            sources=sources,
            joins=tuple(frame.joins),
            aggregates=tuple(dict.fromkeys(frame.aggregates)),
            windows=tuple(dict.fromkeys(frame.windows)),
            sublinks=tuple(frame.sublinks),
            ctes=tuple(replace(one, uses=frame.uses[one.name]) for one in ctes),
            outer=frozenset(frame.outer),
        )

    def _with(self, tree: Tree, frame: Frame) -> list[Cte]:
        clause = tree.tree("with_clause")
        if clause is None:
            return []
        found = []
        recursive = bool(clause.get("recursive"))
        for one in clause.trees("ctes"):
            name, query = one.text("ctename"), one.tree("ctequery")
            if query is None:
                raise AssertionError(one)
            given = tuple(part.text("sval") for part in one.trees("aliascolnames"))
            more = _marks(one)
            itself = recursive and _names(query, name)
            if itself:
                # Its columns are those of the part that does not name it.
                first = query.tree("larg") or query
                uses = frame.uses.copy()
                frame.known[name] = _known(name, given, self.query(first, frame), more, hidden=True)
                frame.uses = uses
            block = self.query(query, frame)
            frame.known[name] = _known(name, given, block, more)
            how = _MATERIALIZED[one.text("ctematerialized")]
            found.append(Cte(name, block, 0, recursive=itself, materialized=how))
        return found

    def _select(self, tree: Tree, frame: Frame) -> Block:
        From(frame, self.query).add(tree.trees("from_clause"))
        frame.named_windows = self._windows(tree, frame)
        outputs = self._outputs(tree.trees("target_list"), frame)
        where = self._condition(tree, "where_clause", frame, "where")
        having = self._condition(tree, "having_clause", frame, "having")
        keys = Keys(frame, self.query, outputs)
        order = keys.order(tree.trees("sort_clause"))
        group, sets = keys.group(tree.trees("group_clause"))
        distinct = tree.trees("distinct_clause")
        on = keys.distinct([one for one in distinct if one.kind != "Null"])
        limit, offset, ties = self._bounds(tree, frame)
        return Block(
            "select", tree, where=where, having=having, group=group, grouping_sets=sets, order=order, limit=limit,
            offset=offset, with_ties=ties, distinct=bool(distinct) and not on, distinct_on=on, outputs=outputs,
            locking=bool(tree.trees("locking_clause")),
        )  # fmt: skip

    def _windows(self, tree: Tree, frame: Frame) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        for one in tree.trees("window_clause"):
            frame.named_windows = found
            found[one.text("name")] = resolved(one, frame, self.query).replaced(name=None)
        return found

    def _outputs(self, targets: Sequence[Tree], frame: Frame) -> tuple[Output, ...]:
        """What is answered, stars written out."""
        frame.place = "output"
        found: list[Output] = []
        for target in targets:
            value = target.tree("val")
            if value is None:
                raise AssertionError(target)
            fields = value.trees("fields") if value.kind == "ColumnRef" else ()
            if fields and fields[-1].kind == "A_Star":
                places = [one.text("sval") for one in fields[:-1]]
                found.extend(Output(name, tree) for name, tree in frame.star(places))
            else:
                name = target.text("name") or output_name(value)
                found.append(Output(name, resolved(value, frame, self.query)))
        return tuple(found)

    def _condition(self, tree: Tree, name: str, frame: Frame, place: Literal["where", "having"]) -> tuple[Tree, ...]:
        clause = tree.tree(name)
        if clause is None:
            return ()
        frame.place = place
        return conjuncts(resolved(clause, frame, self.query))

    def _bounds(self, tree: Tree, frame: Frame) -> tuple[Tree | None, Tree | None, bool]:
        """LIMIT, OFFSET, and whether ties are answered too."""
        frame.place = "limit"
        limit, offset = tree.tree("limit_count"), tree.tree("limit_offset")
        return (
            None if limit is None or limit.get("isnull") else resolved(limit, frame, self.query),
            None if offset is None else resolved(offset, frame, self.query),
            tree.text("limit_option") == "LIMIT_OPTION_WITH_TIES",
        )

    def _operation(self, tree: Tree, frame: Frame) -> Block:
        sides = [side for side in (tree.tree("larg"), tree.tree("rarg")) if side is not None]
        operands = tuple(self.query(side, frame) for side in sides)
        counts = {len(one.outputs) for one in operands}
        if len(counts) > 1:
            raise SqlInvalid(f"each {_OPERATIONS[tree.text('op')].upper()} query must have the same number of columns")
        names = [one.name for one in operands[0].outputs]
        outputs = tuple(
            Output(shown, column(ANSWER, name, alias="", shown=shown))
            for name, shown in zip(unique(names), names, strict=True)
        )
        order = Keys(frame, self.query, outputs).order(tree.trees("sort_clause"), operation=True)
        limit, offset, ties = self._bounds(tree, frame)
        return Block(
            "set", tree, order=order, limit=limit, offset=offset, with_ties=ties, outputs=outputs,
            operation=_OPERATIONS[tree.text("op")], all=bool(tree.get("all")), operands=operands,
        )  # fmt: skip

    def _values(self, tree: Tree, frame: Frame) -> Block:
        rows = tuple(
            tuple(resolved(one, frame, self.query) for one in row.trees("items")) for row in tree.trees("values_lists")
        )
        if len({len(row) for row in rows}) > 1:
            raise SqlInvalid("VALUES lists must all be the same length")
        outputs = tuple(
            Output(f"column{at}", column(ANSWER, f"column{at}", alias="")) for at in range(1, len(rows[0]) + 1)
        )  # fmt: skip
        order = Keys(frame, self.query, outputs).order(tree.trees("sort_clause"), operation=True)
        limit, offset, ties = self._bounds(tree, frame)
        return Block(
            "values", tree, order=order, limit=limit, offset=offset, with_ties=ties, outputs=outputs, rows=rows
        )  # fmt: skip

    def _insert(self, tree: Tree, frame: Frame) -> Block:
        """INSERT: its query is an operand; RETURNING sees the table only, which is no source of the block."""
        relation, query = tree.tree("relation"), tree.tree("select_stmt")
        if relation is None:
            raise AssertionError(tree)
        operands = () if query is None else (self.query(query, frame),)
        seen = Frame(self._catalog, self._path, frame)
        target = From(seen, self.query).target(relation)
        outputs = self._outputs(_returning(tree), seen) if _returning(tree) else ()
        return Block("insert", tree, outputs=outputs, operands=operands, target=target)

    def _change(self, tree: Tree, frame: Frame) -> Block:
        relation = tree.tree("relation")
        if relation is None:
            raise AssertionError(tree)
        source = From(frame, self.query)
        target = source.target(relation)
        one = tree.tree("source_relation")
        source.add((*tree.trees("from_clause"), *tree.trees("using_clause"), *((one,) if one is not None else ())))
        frame.place = "set"
        assignments = tuple(
            Output(part.text("name"), resolved(value, frame, self.query))
            for part in tree.trees("target_list")
            if (value := part.tree("val")) is not None
        )
        kind: Literal["update", "delete", "merge"] = (
            "update" if tree.kind == "UpdateStmt" else "delete" if tree.kind == "DeleteStmt" else "merge"
        )
        where = self._condition(tree, "where_clause", frame, "where") or (
            self._condition(tree, "join_condition", frame, "where")
        )
        outputs = self._outputs(_returning(tree), frame) if _returning(tree) else ()
        return Block(kind, tree, where=where, outputs=outputs, assignments=assignments, target=target)


def _known(
    name: str, given: tuple[str, ...], block: Block, more: tuple[str, ...], *, hidden: bool = False
) -> Known:  # fmt: skip
    names = unique(one.name for one in block.outputs)
    if len(given) > len(names):
        raise SqlInvalid(f'WITH query "{name}" has {len(names)} columns available but {len(given)} columns specified')
    columns = (*given, *names[len(given) :], *more)
    return Known(name, columns, (*output_types(block), *(None for _ in more)), None if hidden else block)


def _marks(tree: Tree) -> tuple[str, ...]:
    """The columns that SEARCH and CYCLE add behind the others."""
    search, cycle = tree.tree("search_clause"), tree.tree("cycle_clause")
    first = (search.text("search_seq_column"),) if search is not None else ()
    if cycle is None:
        return first
    return (*first, cycle.text("cycle_mark_column"), cycle.text("cycle_path_column"))


def _names(tree: Tree, name: str) -> bool:
    """Whether a query names this one somewhere."""
    return any(
        one.kind == "RangeVar" and one.text("relname") == name and not one.text("schemaname") for one in tree.walk()
    )


def _returning(tree: Tree) -> tuple[Tree, ...]:
    clause = tree.tree("returning_clause")
    return tree.trees("returning_list") if clause is None else clause.trees("exprs")


def _word(tree: Tree) -> str:
    """The statement's first words, from the name of its tree: "CreateTrigStmt" is "CREATE TRIG"."""
    words = "".join(f" {one}" if one.isupper() else one for one in tree.kind.removesuffix("Stmt"))
    return words.strip().upper()
