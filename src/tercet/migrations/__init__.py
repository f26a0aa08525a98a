"""Changes to a live PostgreSQL that block nobody."""

from tercet.migrations.guard import alone, alone_until_commit, vacuum
from tercet.migrations.indexes import Built, build_index, drop_index, rebuild_index
from tercet.migrations.marks import Mark
from tercet.migrations.review import Reviewed, put_mark, review
from tercet.migrations.steps import BuildIndex, DropIndex, DropView, MakeRollup, MakeView, RebuildIndex, Remark, Step
from tercet.migrations.waiting import Blocker, blockers
from tercet.sql.port import Connection, Database

__all__ = [
    "Blocker",
    "BuildIndex",
    "Built",
    "Connection",
    "Database",
    "DropIndex",
    "DropView",
    "MakeRollup",
    "MakeView",
    "Mark",
    "RebuildIndex",
    "Remark",
    "Reviewed",
    "Step",
    "alone",
    "alone_until_commit",
    "blockers",
    "build_index",
    "drop_index",
    "put_mark",
    "rebuild_index",
    "review",
    "vacuum",
]
