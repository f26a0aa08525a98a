"""A statement as a cached function: its parameters, its tags, what it returns, and what is to be followed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tercet.advisor.caching.lineage import Unkept, depends
from tercet.advisor.caching.python_names import distinct, singular, type_of, usable
from tercet.advisor.scope import expressions, lineage, origin, resolve
from tercet.advisor.views.statement.shape import called, equality
from tercet.errors import SqlInvalid
from tercet.sql import Tree
from tercet.sql.tree import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.caching.lineage import Dependence
    from tercet.advisor.catalog import Catalog, Table
    from tercet.advisor.scope import Block, Origin
    from tercet.sql.tree import Part

# The schema that a feed of changes leaves out of a table's name.
_USUAL_SCHEMA = "public"
# Bytes of a value of which nothing is known.
_WIDTH_UNKNOWN = 16.0
# So many tables and parameters are named in a function's name.
_NAMED_MAX = 2
# The types of sums and averages that are not their column's.
_AGGREGATED = {
    ("sum", "smallint"): "int", ("sum", "integer"): "int", ("sum", "bigint"): "Decimal", ("sum", "numeric"): "Decimal",
    ("sum", "real"): "float", ("sum", "double precision"): "float", ("sum", "interval"): "timedelta",
    ("avg", "smallint"): "Decimal", ("avg", "integer"): "Decimal", ("avg", "bigint"): "Decimal",
    ("avg", "numeric"): "Decimal", ("avg", "real"): "float", ("avg", "double precision"): "float",
    ("avg", "interval"): "timedelta",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a caller gives: a name and a type of Python, and the column that it is compared with, if it is one."""

    name: str
    type: str
    table: Table | None = None
    column: str = ""


@dataclass(frozen=True, slots=True)
class Followed:
    """A table whose changes drop a tag: the template over its columns, and the same over the function's parameters.

    `columns` are those of which the old value has to be told.
    """

    table: Table
    tag: str
    shape: str
    columns: tuple[str, ...]
    parameters: tuple[str, ...]

    @property
    def name(self) -> str:
        """The table as a feed of changes calls it."""
        schema, name = self.table.name
        return name if schema == _USUAL_SCHEMA else f"{schema}.{name}"


@dataclass(frozen=True, slots=True)
class Entry:
    """The whole of it."""

    name: str
    sql: str
    parameters: tuple[Parameter, ...]
    # (name, type of Python or None) of each column of the answer.
    columns: tuple[tuple[str, str | None], ...]
    followed: tuple[Followed, ...]
    width: float


def entry(statement: Tree, catalog: Catalog, search_path: Sequence[str]) -> Entry:
    """How a statement is cached. Raises Unkept."""
    asked = _numbered(_keyed(statement, _resolved(statement, catalog, search_path)))
    block = _resolved(asked, catalog, search_path)
    parameters = _parameters(asked, block)
    tables = depends(block)
    names: list[str] = []
    for output in block.outputs:
        names.append(distinct(output.name, names, otherwise="column"))
    return Entry(
        name=_name(tables, parameters),
        sql=write(asked),
        parameters=tuple(parameters.values()),
        columns=tuple((name, _type(output.tree, block)) for name, output in zip(names, block.outputs, strict=True)),
        followed=tuple(dict.fromkeys(_followed(one, parameters, catalog) for one in tables)),
        width=sum(_width(one) for one in lineage(block)),
    )


def _resolved(statement: Tree, catalog: Catalog, search_path: Sequence[str]) -> Block:
    try:
        return resolve(statement, catalog, search_path)
    except SqlInvalid as error:
        raise Unkept(f"its names cannot be resolved: {error.reason}") from error


def together(trees: Sequence[Tree]) -> Tree:
    """One statement out of its examples: a constant in which they differ is a parameter. Raises Unkept."""
    numbers = [one.get("number") for tree in trees for one in tree.walk() if one.kind == "ParamRef"]
    first = max((number for number in numbers if isinstance(number, int)), default=0) + 1
    counter = count(first)
    return _common(trees, counter)


def _common(trees: Sequence[Tree], numbers: Iterator[int]) -> Tree:
    first = trees[0]
    if all(one == first for one in trees):
        return first
    if all(one.kind == "A_Const" for one in trees):
        return Tree("ParamRef", (("number", next(numbers)),))
    if any(one.kind != first.kind or len(one.parts) != len(first.parts) for one in trees):
        raise Unkept("its examples differ in more than constants")
    parts: list[tuple[str, Part]] = []
    for place, (name, part) in enumerate(first.parts):
        others = [one.parts[place][1] for one in trees]
        if isinstance(part, Tree):
            parts.append((name, _common([one for one in others if isinstance(one, Tree)], numbers)))
        elif isinstance(part, tuple):
            lists = [one for one in others if isinstance(one, tuple) and len(one) == len(part)]
            if len(lists) != len(others):
                raise Unkept("its lists differ in length")
            columns = [[one for one in column if isinstance(one, Tree)] for column in zip(*lists, strict=True)]
            parts.append((name, tuple(_common(column, numbers) for column in columns)))
        elif any(one != part for one in others):
            raise Unkept("its examples differ in more than constants")
        else:
            parts.append((name, part))
    return Tree(first.kind, tuple(parts))


def _keyed(statement: Tree, block: Block) -> Tree:
    """The statement with parameters for constants that a key equals: of 42 there are many, of 'active' is one."""
    keys = {
        (use.column, other)
        for part in block.walk()
        for use, other, sign in _comparisons(part)
        if sign == "=" and other.kind == "A_Const" and _key(use.table, use.column)
    }
    counter = count(1 + max((_number(one) for one in statement.walk() if one.kind == "ParamRef"), default=0))

    def change(tree: Tree) -> Tree:
        sides = equality(tree)
        for one, other in (sides, sides[::-1]) if sides is not None else ():
            fields = one.trees("fields")
            if one.kind == "ColumnRef" and (fields[-1].text("sval"), other) in keys:
                number = Tree("ParamRef", (("number", next(counter)),))
                return tree.replaced(**{("rexpr" if other is tree.tree("rexpr") else "lexpr"): number})
        return tree

    return statement.mapped(change)


def _comparisons(block: Block) -> Iterator[tuple[Origin, Tree, str]]:
    """(the table's column, what it is compared with, the operator) of each comparison that stands in a block."""
    for tree in expressions(block):
        for one in tree.walk():
            if one.kind != "A_Expr":
                continue
            sides = (one.tree("lexpr"), one.tree("rexpr"))
            sign = one.trees("name")[0].text("sval")
            many = one.text("kind") in {"AEXPR_OP_ANY", "AEXPR_OP_ALL"}
            for side, other in (sides, sides[::-1]):
                at = origin(side, block) if side is not None else None
                if at is not None and other is not None:
                    yield at, other, f"{sign} any" if many else sign


def _key(table: Table, column: str) -> bool:
    keys = (table.primary_key, *table.unique_keys, *(one.columns for one in table.foreign_keys))
    return any(column in key for key in keys)


def _number(tree: Tree) -> int:
    number = tree.get("number")
    return number if isinstance(number, int) else 0


def _numbered(statement: Tree) -> Tree:
    """The parameters numbered from 1 as they come in the text."""
    seen = dict.fromkeys(_number(one) for one in statement.walk() if one.kind == "ParamRef")
    new = {number: place for place, number in enumerate(seen, 1)}
    return statement.mapped(lambda one: one.replaced(number=new[_number(one)]) if one.kind == "ParamRef" else one)


def _parameters(statement: Tree, block: Block) -> dict[int, Parameter]:
    """What each number stands for, by what it is compared with or where it stands."""
    found: dict[int, Parameter] = {}

    def add(number: int, wish: str, kind: str, at: Origin | None = None) -> None:
        if number not in found:
            name = distinct(wish, [known.name for known in found.values()])
            found[number] = Parameter(name, kind, at.table if at else None, at.column if at else "")

    for part in block.walk():
        for at, other, sign in _comparisons(part):
            column = at.table.column(at.column)
            kind = (type_of(column.type) if column is not None else None) or "object"
            for one in _direct(other):
                wish = _parameter_name(at.table, at.column, sign)
                add(_number(one), wish, f"list[{kind}]" if sign.endswith(" any") else kind, at)
        for wish, bound in (("limit", part.limit), ("offset", part.offset)):
            if bound is not None and bound.kind == "ParamRef":
                add(_number(bound), wish, "int")
    for one in statement.walk():
        if one.kind == "ParamRef":
            add(_number(one), f"value_{_number(one)}", "object")
    return dict(sorted(found.items()))


def _direct(tree: Tree) -> Iterator[Tree]:
    """The parameters that are the whole of one side, or of an item of a list there."""
    inner = tree.tree("arg")
    if tree.kind == "ParamRef":
        yield tree
    elif tree.kind == "TypeCast" and inner is not None:
        yield from _direct(inner)
    elif tree.kind == "List":
        for one in tree.trees("items"):
            yield from _direct(one)


def _parameter_name(table: Table, column: str, sign: str) -> str:
    name = f"{singular(table.name[1])}_id" if column == "id" else column
    return name + {">": "_after", ">=": "_from", "<": "_before", "<=": "_until"}.get(sign, "")


def _followed(one: Dependence, parameters: dict[int, Parameter], catalog: Catalog) -> Followed:
    """The tag of the rows that an answer is made from: as few as its keys tell, else all of the table."""
    table = one.table
    given = {
        binding.column: parameters[_number(value)].name
        for binding in one.bindings
        if (value := _bare(binding.value)).kind == "ParamRef"
        and usable(binding.column)
        and _told(table, binding.column)
    }
    stem = ".".join(part for part in table.name if part != _USUAL_SCHEMA)
    if any("{" in part or "}" in part for part in table.name):
        raise Unkept(f"the name of {stem} cannot stand in a tag")
    if table.primary_key and set(table.primary_key) <= set(given):
        return _tagged(table, singular(stem), "", {column: given[column] for column in table.primary_key})
    for key in table.foreign_keys:
        if len(key.columns) == 1 and key.columns[0] in given:
            column = key.columns[0]
            parent = ".".join(part for part in key.target if part != _USUAL_SCHEMA)
            if catalog.tables.get(key.target) is not None and key.target != table.name:
                return _tagged(table, singular(parent), f":{stem}", {column: given[column]})
    if given:
        return _tagged(table, stem, "", given, named=True)
    return Followed(table, stem, stem, (), ())


def _tagged(table: Table, stem: str, tail: str, given: dict[str, str], *, named: bool = False) -> Followed:
    columns, names = tuple(given), tuple(given.values())
    labels = [f"{column}:" if named else "" for column in columns]
    tag = ":".join(f"{label}{{{name}}}" for label, name in zip(labels, names, strict=True))
    shape = ":".join(f"{label}{{{column}}}" for label, column in zip(labels, columns, strict=True))
    return Followed(table, f"{stem}:{tag}{tail}", f"{stem}:{shape}{tail}", columns, names)


def _bare(tree: Tree) -> Tree:
    inner = tree.tree("arg")
    return _bare(inner) if tree.kind == "TypeCast" and inner is not None else tree


def _told(table: Table, column: str) -> bool:
    """Whether the old value of a column can be told: of the primary key always, else by an index without NULLs.

    A value that Python and the feed may write in two ways makes no tag: of a number with decimals, or a moment.
    """
    found = table.column(column)
    if found is None or type_of(found.type) not in {"int", "str", "UUID", "date", "bool"}:
        return False
    return column in table.primary_key or (found.not_null and bool(table.primary_key))


def _name(tables: tuple[Dependence, ...], parameters: dict[int, Parameter]) -> str:
    own = list(dict.fromkeys(one.table.name[1] for one in tables))[:_NAMED_MAX]
    stem = "_".join(name if usable(name) else "rows" for name in own)
    by = [one.name for one in parameters.values() if one.table is not None][:_NAMED_MAX]
    return "_by_".join((stem, "_and_".join(by))) if by else stem


def _width(at: Origin | None) -> float:
    column = at.table.column(at.column) if at is not None else None
    return column.statistics.width if column is not None and column.statistics is not None else _WIDTH_UNKNOWN


def _type(tree: Tree, block: Block) -> str | None:
    """The type of an output; of what may be NULL, that too. None where nobody knows."""
    args = tree.trees("args")
    if tree.kind == "CoalesceExpr":
        return _type(args[0], block)
    name = called(tree) if tree.kind == "FuncCall" else "itself"
    if name == "count":
        return "int"
    at = origin(args[0] if tree.kind == "FuncCall" and args else tree, block)
    column = at.table.column(at.column) if at is not None else None
    if column is None:
        return None
    kind = _AGGREGATED.get((name, column.type.partition("(")[0]))
    if name in {"itself", "min", "max"}:
        kind = type_of(column.type)
    return f"{kind} | None" if kind is not None else None
