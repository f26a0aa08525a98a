"""Resolved expressions written as SQL again: as they stand in their statement, or as a table's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.scope.block import BLOCK, COLUMN, WHOLE_ROW, reference
from tercet.advisor.scope.facts import is_volatile, number
from tercet.advisor.scope.resolving.frame import SYSTEM_COLUMNS
from tercet.advisor.scope.resolving.names import function
from tercet.sql.tree import Tree, write

if TYPE_CHECKING:
    from tercet.advisor.scope.block import Block

# PostgreSQL's own functions that depend on the time or the session: no index can hold what they say.
_STABLE = frozenset(
    {"now", "transaction_timestamp", "statement_timestamp", "current_setting", "current_database", "current_schema",
     "current_schemas", "pg_backend_pid", "txid_current_snapshot", "to_timestamp", "inet_client_addr"}
)  # fmt: skip


def plain(tree: Tree, block: Block) -> Tree:
    """The expression as PostgreSQL's grammar has it: columns by their source's alias, subqueries as in the text."""

    def one(part: Tree) -> Tree:
        if part.kind == COLUMN:
            return _named(part)
        if part.kind == BLOCK:
            return block.sublinks[number(part)].block.tree
        return part

    return tree.mapped(one)


def text(tree: Tree, block: Block) -> str:
    """The SQL of an expression as it could stand in its statement."""
    return write(plain(tree, block))


def index_text(tree: Tree, block: Block) -> str | None:
    """The SQL of an expression as an index of its table could hold it, in WHERE or as a key.

    Its columns stand there by their own names. None for what no index can hold: columns of several sources or of
    none, of what is no table, subqueries, parameters, calls that depend on more than their arguments. That is known
    of PostgreSQL's own functions only; a server refuses what else is not immutable.
    """
    sources = set()
    for one in tree.walk():
        found = reference(one)
        if found is not None:
            if found.up or found.source < 0 or found.column in SYSTEM_COLUMNS or found.column == WHOLE_ROW:
                return None
            sources.add(found.source)
        elif one.kind in {BLOCK, "SubLink", "ParamRef", "SQLValueFunction"} or function(one) in _STABLE:
            return None
    if len(sources) != 1 or is_volatile(tree) or block.sources[sources.pop()].table is None:
        return None
    return write(tree.mapped(_bare))


def _named(part: Tree) -> Tree:
    """A column by the names that the text has for it and its source."""
    fields = [Tree("String", (("sval", part.text("alias")),))] if part.text("alias") else []
    if part.text("column") == WHOLE_ROW:
        return Tree("ColumnRef", (("fields", tuple(fields)),))
    return Tree("ColumnRef", (("fields", (*fields, Tree("String", (("sval", part.text("shown")),)))),))


def _bare(part: Tree) -> Tree:
    if part.kind != COLUMN:
        return part
    return Tree("ColumnRef", (("fields", (Tree("String", (("sval", part.text("column")),)),)),))
