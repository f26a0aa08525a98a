"""Changes to a live PostgreSQL that block nobody."""

from tercet.migrations.guard import alone, alone_until_commit, vacuum
from tercet.migrations.indexes import Built, build_index, drop_index
from tercet.migrations.port import Connection, Database
from tercet.migrations.steps import BuildIndex, DropIndex, MakeView, RebuildIndex, Remark, Step

__all__ = [
    "BuildIndex",
    "Built",
    "Connection",
    "Database",
    "DropIndex",
    "MakeView",
    "RebuildIndex",
    "Remark",
    "Step",
    "alone",
    "alone_until_commit",
    "build_index",
    "drop_index",
    "vacuum",
]
