"""SQL as values: names, indexes, views, statements and plans; nothing here talks to a server."""

from tercet.sql.identifier import identifier, literal, table_parts
from tercet.sql.node import Buffers, Node
from tercet.sql.plan import Plan, Trigger
from tercet.sql.schema import Expression, Index, Key, View
from tercet.sql.statement import Statement
from tercet.sql.tree import Tree

__all__ = [
    "Buffers",
    "Expression",
    "Index",
    "Key",
    "Node",
    "Plan",
    "Statement",
    "Tree",
    "Trigger",
    "View",
    "identifier",
    "literal",
    "table_parts",
]
