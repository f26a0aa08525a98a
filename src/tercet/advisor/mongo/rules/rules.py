"""All rules, and a pipeline taken through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.mongo.rules import lookup_by_field, lookup_later, match_before_group, match_first
from tercet.advisor.mongo.rules.rule import Facts

if TYPE_CHECKING:
    from tercet.advisor.mongo.rules.rule import Pipeline, Rule

# In this order: a $match that has moved lets a $lookup stay where it is.
RULES: tuple[Rule, ...] = (match_before_group.RULE, match_first.RULE, lookup_later.RULE, lookup_by_field.RULE)
# A pipeline of a hundred stages is at its end long before; no rule undoes another one's work.
_STEPS_MAX = 500


def rewritten(pipeline: Pipeline, facts: Facts) -> tuple[Pipeline, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The pipeline after all rules, the names of those that did something, and where no empty array may be."""
    names: dict[str, None] = {}
    unless: dict[tuple[str, str], None] = {}
    for rule in RULES:
        for _ in range(_STEPS_MAX):
            found = rule.apply(pipeline, facts)
            if found is None:
                break
            pipeline = found.pipeline
            names[rule.name] = None
            unless.update(dict.fromkeys(found.unless))
    return pipeline, tuple(names), tuple(unless)


def match_moved(pipeline: Pipeline) -> Pipeline:
    """The pipeline with every $match as early as it may be, which is how the server itself reads it."""
    for _ in range(_STEPS_MAX):
        found = match_first.RULE.apply(pipeline, Facts())
        if found is None:
            break
        pipeline = found.pipeline
    return pipeline
