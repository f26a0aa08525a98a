"""A condition of a resolved query as a role: which term of which table is compared, how, and with what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.candidates.roles import share as shares
from tercet.advisor.candidates.roles.constants import constant, value
from tercet.advisor.candidates.roles.families import family, kind_of
from tercet.advisor.candidates.roles.scan import Condition, Term
from tercet.advisor.candidates.same import type_of
from tercet.advisor.scope.block import COLUMN, WHOLE_ROW, reference, references
from tercet.sql import Expression, Tree
from tercet.sql.tree import write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.roles.scan import Test
    from tercet.advisor.catalog import Table
    from tercet.advisor.scope.block import Source

_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "<>": "<>", "<@": "@>", "&&": "&&", "@@": "@@"}
# What an operator asks for; the others find nothing in an index.
_TESTS: dict[str, Test] = {
    "=": "equal", "<": "range", ">": "range", "<=": "range", ">=": "range", "<>": "unlike",
    "~~": "like", "~~*": "ilike", "~": "regex", "~*": "regex", "@@": "search", "@?": "search",
    "@>": "contains", "?": "has", "?|": "has", "?&": "has", "&&": "overlap",
}  # fmt: skip
_LOW, _HIGH = frozenset({">", ">="}), frozenset({"<", "<="})
_PATTERNS = frozenset({"like", "ilike", "regex"})


@dataclass(frozen=True, slots=True)
class Compared:
    """A term of one source compared with a tree that uses no column of that source."""

    source: int
    term: Term
    operator: str
    other: Tree
    # The whole condition with a constant, and with columns as they are called in the table.
    sql: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """A condition that speaks of one source alone."""

    source: int
    condition: Condition


def term(tree: Tree, sources: tuple[Source, ...]) -> tuple[int, Term] | None:
    """The term that a tree is, and the source of which all of its columns are; None if it is no term of a table."""
    found = list(references(tree))
    numbers = {one.source for one in found}
    if not found or len(numbers) != 1 or any(one.up or one.column == WHOLE_ROW for one in found):
        return None
    source = next((one for one in sources if one.number == found[0].source), None)
    if source is None or source.table is None or any(one.kind == "Block" for one in tree.walk()):
        return None
    bare = _bare(tree, source.table)
    alone = reference(bare)
    if alone is not None:
        column = source.table.column(alone.column)
        if column is None:
            return None
        return source.number, Term(column.name, frozenset({column.name}), family(column.type), column)
    plain = unqualified(bare)
    kind = kind_of(plain, source.table)
    columns = frozenset(one.column for one in found)
    return source.number, Term(Expression(write(plain)), columns, kind or "", fit=kind is not None)


def unqualified(tree: Tree) -> Tree:
    """The tree with its resolved columns called by their own names, as an index's definition calls them."""

    def named(one: Tree) -> Tree:
        found = reference(one)
        if one.kind != COLUMN or found is None:
            return one
        return Tree("ColumnRef", (("fields", (Tree("String", (("sval", found.column),)),)),))

    return tree.mapped(named)


def _bare(tree: Tree, table: Table) -> Tree:
    """A column without the cast that changes nothing of it: text of text."""
    inside = tree.tree("arg") if tree.kind == "TypeCast" else None
    found = reference(inside)
    column = table.column(found.column) if found is not None else None
    if inside is not None and column is not None and family(column.type) == family(type_of(tree)) == "text":
        return inside
    return tree


def comparisons(tree: Tree, sources: tuple[Source, ...]) -> Iterator[Compared]:
    """Each side of an operator that is a term, with the other side; of rows, column by column."""
    left, right = tree.tree("lexpr"), tree.tree("rexpr")
    names = tree.trees("name")
    if tree.kind != "A_Expr" or left is None or right is None or not names:
        return
    operator = names[-1].text("sval")
    if left.kind == right.kind == "RowExpr":
        yield from _rows(operator, left, right, sources)
        return
    written = tree.text("kind") in {"AEXPR_OP", "AEXPR_LIKE", "AEXPR_ILIKE"}
    for one, other, how in ((left, right, operator), (right, left, _TURNED.get(operator, ""))):
        found = term(one, sources) if how and written else None
        if found is not None and found[0] not in {each.source for each in references(other) if not each.up}:
            sql = write(unqualified(tree)) if constant(other) else None
            yield Compared(found[0], found[1], how, other, sql)


def _rows(operator: str, left: Tree, right: Tree, sources: tuple[Source, ...]) -> Iterator[Compared]:
    """Equal rows are equal in each column; of greater ones only the first is certain."""
    pairs = list(zip(left.trees("args"), right.trees("args"), strict=False))
    if operator in _LOW | _HIGH:
        pairs, operator = pairs[:1], f"{operator[0]}="
    if operator not in {"=", ">=", "<="}:
        return
    for one, other in pairs:
        name = (Tree("String", (("sval", operator),)),)
        yield from comparisons(
            Tree("A_Expr", (("kind", "AEXPR_OP"), ("name", name), ("lexpr", one), ("rexpr", other))), sources
        )


def told(compared: Compared, table: Table) -> Told | None:
    """The condition, where the other side uses no column at all; None for an operator that no index knows."""
    test = _TESTS.get(compared.operator)
    if test is None:
        return None
    known = value(compared.other)
    column = compared.term.column
    share = _share(test, compared, table, known)
    if test == "equal" and column is not None and family(column.type) == "bool" and known is not None:
        known = "t" if known in {"t", "true"} else "f"
    return Told(compared.source, Condition(test, compared.term, min(1.0, share), compared.sql, known))


def _share(test: Test, compared: Compared, table: Table, known: str | None) -> float:
    column = compared.term.column
    if test == "equal":
        return shares.equal(column, table, known)
    if test == "unlike":
        return 1.0 - shares.equal(column, table, known) - (shares.null(column) if column is not None else 0.0)
    if test == "range":
        low = known if compared.operator in _LOW else None
        high = known if compared.operator in _HIGH else None
        return shares.between(column, low, high, bounds=1)
    if test in _PATTERNS and known is not None:
        return shares.pattern("".join(letter for letter in known if letter.isalnum()))
    return shares.PATTERN_UNKNOWN


def listed(tree: Tree, sources: tuple[Source, ...]) -> Told | None:
    """BETWEEN, IN, = ANY, IS NULL, IS TRUE and a boolean by itself."""
    inside = tree.tree("lexpr") or tree.tree("arg") or tree
    if tree.kind == "BoolExpr":
        inside = tree.trees("args")[0]
    found = term(inside, sources)
    if found is None:
        return None
    number, one = found
    source = next(each for each in sources if each.number == number)
    table = source.table
    right = tree.tree("rexpr")
    if table is None or (right is not None and any(True for _ in references(right))):
        return None
    made = _listed(tree, one, table, right)
    if made is None:
        return None
    test, share, known = made
    fixed = right is None or constant(right)
    return Told(number, Condition(test, one, min(1.0, share), write(unqualified(tree)) if fixed else None, known))


def _listed(tree: Tree, one: Term, table: Table, right: Tree | None) -> tuple[Test, float, str | None] | None:
    names = tree.trees("name")
    operator = names[-1].text("sval") if names else ""
    found: tuple[Test, float, str | None] | None = None
    match tree.kind, tree.text("kind"):
        case "A_Expr", "AEXPR_BETWEEN" if right is not None:
            low, high = (value(each) for each in right.trees("items"))
            found = "range", shares.between(one.column, low, high), None
        case "A_Expr", "AEXPR_IN" | "AEXPR_OP_ANY" if right is not None and operator == "=":
            found = "any", _any(one, table, right), None
        case "A_Expr", "AEXPR_IN" if right is not None:
            found = "unlike", 1.0 - _any(one, table, right), None
        case "NullTest", _:
            empty = shares.null(one.column)
            found = ("null", empty, None) if tree.text("nulltesttype") == "IS_NULL" else ("not_null", 1 - empty, None)
        case "BooleanTest", _ if tree.text("booltesttype") in {"IS_TRUE", "IS_FALSE"}:
            wanted = "t" if tree.text("booltesttype") == "IS_TRUE" else "f"
            found = "yes", shares.equal(one.column, table, wanted), wanted
        case "BoolExpr", _ if tree.text("boolop") == "NOT_EXPR" and one.type == "bool":
            found = "yes", shares.equal(one.column, table, "f"), "f"
        case "Column", _ if one.type == "bool":
            found = "yes", shares.equal(one.column, table, "t"), "t"
        case _:
            pass
    return found


def _any(one: Term, table: Table, right: Tree) -> float:
    items = right.trees("items") or right.trees("elements")
    inside = right.tree("arg")
    if not items and inside is not None:
        items = inside.trees("elements")
    # Ten values are what PostgreSQL assumes of an array that it does not know.
    values: list[str | None] = [value(each) for each in items] or [None] * 10
    return min(1.0, sum(shares.equal(one.column, table, each) for each in values))
