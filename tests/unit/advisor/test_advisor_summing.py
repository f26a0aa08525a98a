"""What no index saves: the rows that have to be added up, counted from a plan."""

from __future__ import annotations

import pytest

from tercet.advisor.choice.chosen import Outlook
from tercet.advisor.flow.draft import Draft
from tercet.advisor.flow.summing import floor
from tercet.advisor.query import Example, Query
from tercet.sql import Plan, Statement

SQL = "select user_id, sum(total) from orders group by user_id"


def _scan(**more: object) -> dict[str, object]:
    return {"Node Type": "Index Only Scan", "Relation Name": "orders", "Total Cost": 10.0, "Plan Rows": 18.0, **more}


def _draft(ms: float, plan: dict[str, object]) -> Draft:
    draft = Draft(Query(Statement(SQL), examples=(Example(SQL),)))
    draft.outlook = Outlook(draft.fingerprint, ms * 2, ms, 1.0, 20.0, 10.0)
    draft.plan_before = Plan.read([{"Plan": plan}])
    return draft


def _laterally(outer: float) -> dict[str, object]:
    users = {"Node Type": "Seq Scan", "Relation Name": "users", "Total Cost": 1.0, "Plan Rows": outer}
    each = {"Node Type": "Aggregate", "Total Cost": 11.0, "Plan Rows": 1.0, "Plans": [_scan()]}
    return {"Node Type": "Nested Loop", "Total Cost": 99.0, "Plan Rows": outer, "Plans": [users, each]}


def test_the_rows_that_each_of_many_loops_adds_up_are_all_of_them() -> None:
    """What is planned for one user counts as often as there are users, and the table is that of the inner scan."""
    said = floor(_draft(360.0, _laterally(2000.0)))
    assert said is not None
    assert said.startswith("about 36,000 rows of orders have to be read and added up")
    assert "360 ms are 10 µs for each" in said


def test_what_a_run_has_counted_goes_before_what_was_planned() -> None:
    """Rows and loops of a plan that was run."""
    scan = _scan(**{"Actual Rows": 5.0, "Actual Loops": 4000, "Actual Total Time": 1.0})
    plan = {"Node Type": "Aggregate", "Total Cost": 11.0, "Plan Rows": 1.0, "Actual Rows": 1.0, "Actual Loops": 4000,
            "Actual Total Time": 1.0, "Plans": [scan]}  # fmt: skip
    assert "about 20,000 rows of orders" in (floor(_draft(50.0, plan)) or "")


@pytest.mark.parametrize(
    ("ms", "plan"),
    [(5.0, _laterally(2000.0)), (360.0, _laterally(20.0)), (360.0, _scan(**{"Plan Rows": 1e6}))],
    ids=["quick", "few rows", "nothing is added up"],
)
def test_it_is_said_only_of_slow_statements_that_add_up_many_rows(ms: float, plan: dict[str, object]) -> None:
    """A quick statement, a few rows or a plain scan have no such floor."""
    assert floor(_draft(ms, plan)) is None
