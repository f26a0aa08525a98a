"""Answers that are worked out beforehand: materialized views, and rollups kept up to date by what writers do."""

from tercet.rollups.kept.build import create_rollup, drop_rollup
from tercet.rollups.kept.check import Checked, check, repair
from tercet.rollups.kept.merge import Merged, merge
from tercet.rollups.kept.rollup import Measure, Parent, Rollup
from tercet.rollups.memory import Known
from tercet.rollups.summaries import create_summary, drop_summary
from tercet.rollups.summary import Summary
from tercet.rollups.views import Created, Refreshed, age, create_view, drop_view, refresh_view

__all__ = [
    "Checked",
    "Created",
    "Known",
    "Measure",
    "Merged",
    "Parent",
    "Refreshed",
    "Rollup",
    "Summary",
    "age",
    "check",
    "create_rollup",
    "create_summary",
    "create_view",
    "drop_rollup",
    "drop_summary",
    "drop_view",
    "merge",
    "refresh_view",
    "repair",
]
