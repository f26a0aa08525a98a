"""A SELECT that stands in FROM of another, or as its CTE: asked of a view alone, what is around it stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.sql.tree import parse, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.sql import Tree


@dataclass(frozen=True, slots=True)
class Around:
    """A statement with one SELECT in it, which gives way to another of the same columns, types and rows."""

    whole: Tree
    inner: Tree

    def around(self, sql: str) -> str:
        """The statement with this in the place of its inner SELECT."""
        other = parse(sql)
        return write(self.whole.mapped(lambda one: other if one == self.inner else one))


def inner_selects(statement: Tree) -> Iterator[Around]:
    """Its CTEs and the SELECTs in FROM, however deep, the outer ones first: each that rests on tables alone.

    One that names a CTE is left out, for alone it would mean a table of that name; so is one with CTEs of its own.
    What it takes from outside (LATERAL) has no meaning when it is read alone, and is refused there.
    """
    trees = [*statement.walk()]
    common = {one.text("ctename") for one in trees if one.kind == "CommonTableExpr"}
    for one in trees:
        field = {"CommonTableExpr": "ctequery", "RangeSubselect": "subquery"}.get(one.kind)
        inner = one.tree(field) if field else None
        if inner is not None and inner.kind == "SelectStmt" and not _names(inner) & common:
            yield Around(statement, inner)


def _names(tree: Tree) -> set[str]:
    """What may mean a CTE in it: relations without a schema."""
    return {one.text("relname") for one in tree.walk() if one.kind == "RangeVar" and not one.text("schemaname")}
