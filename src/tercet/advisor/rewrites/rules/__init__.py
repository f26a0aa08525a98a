"""The rules, one a file, in the order in which they are tried."""

from tercet.advisor.rewrites.rule import Rule
from tercet.advisor.rewrites.rules import (
    arithmetic,
    correlated_aggregate,
    count_join_column,
    count_star,
    count_to_exists,
    distinct_key,
    function_to_range,
    group_by_key,
    having_to_where,
    in_to_exists,
    late_materialisation,
    lateral_aggregation,
    left_to_inner,
    not_in_to_not_exists,
    or_to_union,
    pre_aggregation,
    redundant_join,
    union_all,
)

RULES = (
    Rule("left_to_inner", left_to_inner.apply),
    Rule("redundant_join", redundant_join.apply),
    Rule("having_to_where", having_to_where.apply),
    Rule("function_to_range", function_to_range.apply),
    Rule("arithmetic", arithmetic.apply),
    Rule("count_star", count_star.apply),
    Rule("count_join_column", count_join_column.apply),
    Rule("count_to_exists", count_to_exists.apply),
    Rule("not_in_to_not_exists", not_in_to_not_exists.apply),
    Rule("distinct_key", distinct_key.apply),
    Rule("union_all", union_all.apply),
    Rule("late_materialisation", late_materialisation.apply),
    Rule("group_by_key", group_by_key.apply),
    Rule("in_to_exists", in_to_exists.apply, apart=True),
    Rule("or_to_union", or_to_union.apply, apart=True),
    Rule("correlated_aggregate", correlated_aggregate.apply, apart=True),
    Rule("pre_aggregation", pre_aggregation.apply, apart=True),
    Rule("lateral_aggregation", lateral_aggregation.apply, apart=True),
)

__all__ = ["RULES"]
