"""Changes to a live PostgreSQL that block nobody."""

from tercet.migrations.guard import alone, alone_until_commit, vacuum
from tercet.migrations.indexes import Built, build_index, drop_index
from tercet.migrations.port import Connection, Database

__all__ = [
    "Built",
    "Connection",
    "Database",
    "alone",
    "alone_until_commit",
    "build_index",
    "drop_index",
    "vacuum",
]
