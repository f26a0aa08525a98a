"""Answers that are worked out beforehand: materialized views, and summaries kept by the writers themselves."""

from tercet.rollups.summaries import create_summary, drop_summary
from tercet.rollups.summary import Summary
from tercet.rollups.views import Created, Refreshed, create_view, drop_view, refresh_view

__all__ = [
    "Created",
    "Refreshed",
    "Summary",
    "create_summary",
    "create_view",
    "drop_summary",
    "drop_view",
    "refresh_view",
]
