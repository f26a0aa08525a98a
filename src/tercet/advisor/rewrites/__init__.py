"""Statements asked otherwise: rules whose conditions the catalog proves."""

from tercet.advisor.rewrites.rewriting import notes, rewrite
from tercet.advisor.rewrites.rules import RULES

__all__ = ["RULES", "notes", "rewrite"]
