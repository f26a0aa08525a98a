"""SQL as values: names, indexes, views, statements and plans; nothing here talks to a server."""

from tercet.sql.definition import Definition
from tercet.sql.identifier import identifier
from tercet.sql.schema import Expression, Index, Key, View

__all__ = ["Definition", "Expression", "Index", "Key", "View", "identifier"]
