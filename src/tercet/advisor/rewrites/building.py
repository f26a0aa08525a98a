"""Pieces of SQL made as trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.proved import column_ref
from tercet.advisor.rewrites.sources import aggregates, columns
from tercet.sql.tree import Tree, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tercet.advisor.rewrites.sources import Scope

__all__ = ["column_ref"]


def compared(left: Tree, sign: str, right: Tree) -> Tree:
    """left sign right."""
    name = (Tree("String", (("sval", sign),)),)
    return Tree("A_Expr", (("kind", "AEXPR_OP"), ("name", name), ("lexpr", left), ("rexpr", right)))


def output(value: Tree, name: str | None = None) -> Tree:
    """value AS name; the name is left out where a column has it already."""
    if value.kind == "ColumnRef" and value.trees("fields")[-1].text("sval") == name:
        name = None
    return Tree("ResTarget", ((("name", name),) if name else ()) + (("val", value),))


def aliased(select: Tree, name: str) -> Tree:
    """(select) AS name, as it stands in FROM."""
    alias = Tree("Alias", (("aliasname", name),))
    return Tree("RangeSubselect", (("subquery", select), ("alias", alias)))


def joined(kind: str, left: Tree, right: Tree, quals: Tree | None) -> Tree:
    """left JOIN right ON quals."""
    parts = (("jointype", kind), ("larg", left), ("rarg", right))
    return Tree("JoinExpr", parts if quals is None else (*parts, ("quals", quals)))


def selected(targets: Iterable[Tree], sources: Sequence[Tree], where: Tree | None = None) -> Tree:
    """SELECT targets FROM sources WHERE where."""
    parts: tuple[tuple[str, object], ...] = (
        ("target_list", tuple(targets)), ("from_clause", tuple(sources)), ("where_clause", where),
        ("limit_option", "LIMIT_OPTION_DEFAULT"), ("op", "SETOP_NONE"),
    )  # fmt: skip
    return Tree("SelectStmt", ()).replaced(**{name: part for name, part in parts if part})  # type: ignore[arg-type]  # each is a tree, a word or trees


def expression(text: str) -> Tree:
    """The tree of an expression."""
    (target,) = parse(f"select {text}").trees("target_list")
    return target.tree("val") or Tree("Null")


def exists(select: Tree, *, negated: bool = False) -> Tree:
    """[NOT] EXISTS (select)."""
    found = Tree("SubLink", (("sub_link_type", "EXISTS_SUBLINK"), ("subselect", select)))
    return Tree("BoolExpr", (("boolop", "NOT_EXPR"), ("args", (found,)))) if negated else found


def one() -> tuple[Tree, ...]:
    """The outputs of a query that is only asked whether it has rows."""
    return (output(Tree("A_Const", (("ival", Tree("Integer", (("ival", 1),))),))),)


def changed_here(tree: Tree, change: Callable[[Tree], Tree | None]) -> Tree:
    """The tree with `change` made to its nodes, from above, without looking into queries inside of it."""
    new = change(tree)
    if new is not None:
        return new
    parts: dict[str, object] = {}
    for name, part in tree.parts:
        if isinstance(part, Tree):
            parts[name] = part if part.kind == "SelectStmt" else changed_here(part, change)
        elif isinstance(part, tuple):
            parts[name] = tuple(
                changed_here(it, change) if isinstance(it, Tree) and it.kind != "SelectStmt" else it for it in part
            )
        else:
            parts[name] = part
    return Tree(tree.kind, tuple(parts.items()))  # type: ignore[arg-type]  # parts of a tree, as they were


def qualified(tree: Tree, scope: Scope) -> Tree | None:
    """An expression with each of this query's columns under the name of its source; None if one is unknown."""
    if scope.local(tree) is None:
        return None

    def change(node: Tree) -> Tree | None:
        found = scope.find(node) if node.kind == "ColumnRef" else None
        return None if found is None or found.depth else column_ref(found.source.name, found.name)

    return changed_here(tree, change)


def names_within(tree: Tree) -> set[str]:
    """Every name of a table or an alias in a tree."""
    found = {node.text("aliasname") for node in tree.walk() if node.kind == "Alias"}
    return found | {node.text("relname") for node in tree.walk() if node.kind == "RangeVar"}


def free_name(wanted: str, *trees: Tree) -> str:
    """A name for a source that nothing in these trees bears."""
    taken = {name for tree in trees for name in names_within(tree)}
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def uses(tree: Tree, source: str, scope: Scope) -> bool:
    """Whether a tree may use a column of a source, also in queries inside of it; in doubt, yes."""
    for ref in columns(tree):
        words = [word.text("sval") for word in ref.trees("fields") if word.kind == "String"]
        if len(words) != len(ref.trees("fields")):  # a *
            if not words or words[0] == source:
                return True
        elif words[0] == source:
            return True
        elif len(words) == 1:
            found = scope.find(ref)
            holder = scope.source(source)
            unknown = holder is None or holder.columns is None or words[0] in holder.columns
            if (found is None and unknown) or (found is not None and not found.depth and found.source.name == source):
                return True
    return False


def simple(select: Tree) -> bool:
    """Whether a SELECT only picks and joins: no groups, aggregates, windows, limits, DISTINCT, UNION or locks."""
    heavy = ("distinct_clause", "group_clause", "having_clause", "limit_count", "limit_offset", "values_lists",
             "window_clause", "locking_clause", "with_clause", "into_clause")  # fmt: skip
    return (
        select.text("op") in {"", "SETOP_NONE"} and not any(select.get(name) for name in heavy) and not _calls(select)
    )


def _calls(select: Tree) -> bool:
    return any(
        True for target in select.trees("target_list") for value in (target.tree("val"),) if value is not None
        for _ in (*aggregates(value), *windows(value))
    )  # fmt: skip


def windows(tree: Tree) -> list[Tree]:
    """The window functions of an expression."""
    return [node for node in tree.walk() if node.kind == "FuncCall" and node.tree("over") is not None]
