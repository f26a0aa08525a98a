"""Pipelines that answer the same with less work: one rule a file, each with the reason why it is equal."""

from tercet.advisor.mongo.rules.rule import Facts, Found, Rule
from tercet.advisor.mongo.rules.rules import RULES, match_moved, rewritten

__all__ = ["RULES", "Facts", "Found", "Rule", "match_moved", "rewritten"]
