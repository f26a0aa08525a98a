"""Answers that are worked out beforehand: materialized views, and rollups kept up to date by what writers do."""

from tercet.rollups.age import age
from tercet.rollups.apply import apply_view, drop_kept, planned, taken_back
from tercet.rollups.keeper import Keeper, Kept
from tercet.rollups.kept.build import create_rollup, drop_rollup
from tercet.rollups.kept.check import Checked, check, repair
from tercet.rollups.kept.merge import Merged, merge
from tercet.rollups.kept.of_view import rollup_of
from tercet.rollups.kept.rollup import Measure, Parent, Rollup
from tercet.rollups.kept.script import RollupScript, script
from tercet.rollups.memory import Known
from tercet.rollups.standing import Standing, drift, standing
from tercet.rollups.summaries import create_summary, drop_summary
from tercet.rollups.summary import Summary
from tercet.rollups.views import Created, Refreshed, create_view, drop_view, refresh_view

__all__ = [
    "Checked",
    "Created",
    "Keeper",
    "Kept",
    "Known",
    "Measure",
    "Merged",
    "Parent",
    "Refreshed",
    "Rollup",
    "RollupScript",
    "Standing",
    "Summary",
    "age",
    "apply_view",
    "check",
    "create_rollup",
    "create_summary",
    "create_view",
    "drift",
    "drop_kept",
    "drop_rollup",
    "drop_summary",
    "drop_view",
    "merge",
    "planned",
    "refresh_view",
    "repair",
    "rollup_of",
    "script",
    "standing",
    "taken_back",
]
