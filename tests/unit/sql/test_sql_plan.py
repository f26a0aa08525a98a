"""Plans of real servers (PostgreSQL 15.20 and 18.6) are read for what they mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tercet.errors import DocumentInvalid
from tercet.sql import Node, Plan

CASES = Path(__file__).parents[2] / "cases" / "plans"
EVERY = sorted(path.name for path in CASES.glob("*.json"))
TIMED = [name for name in EVERY if not name.startswith(("planned_only", "timing_off"))]


def read(name: str) -> Plan:
    """The plan in a case file."""
    return Plan.read((CASES / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", EVERY)
def test_every_form_in_which_a_driver_hands_it_over_is_the_same_plan(name: str) -> None:
    """Text, bytes, lists, a row around it; with all of its steps."""
    raw = (CASES / name).read_text(encoding="utf-8")
    plan = Plan.read(raw)
    steps = raw.count('"Node Type"')
    assert len(list(plan.walk())) == steps
    assert len(plan.text().splitlines()) >= steps
    for form in (raw.encode(), json.loads(raw), json.loads(raw)[0], [(raw,)], [(json.loads(raw),)]):
        assert Plan.read(form) == plan


@pytest.mark.parametrize("name", TIMED)
def test_what_the_steps_take_themselves_adds_up_to_the_whole(name: str) -> None:
    """Also with CTEs, InitPlans, SubPlans and parallel workers: no time is counted twice, none is lost."""
    plan = read(name)
    assert plan.root.ms is not None
    assert sum(node.exclusive_ms or 0 for node in plan.walk()) == pytest.approx(plan.root.ms, rel=0.03, abs=0.02)


@pytest.mark.parametrize("version", ["15", "18"])
def test_times_below_a_gather_are_those_of_the_average_process(version: str) -> None:
    """Three processes side by side take as long as one."""
    plan = read(f"parallel-{version}.json")
    (gather,) = plan.nodes("Gather Merge")
    assert (gather.workers_planned, gather.workers_launched) == (2, 2)
    (join,) = plan.nodes("Hash Join")
    assert join.type == "Parallel Hash Join"
    assert join.loops == 3
    assert join.ms is not None
    assert gather.ms is not None
    assert join.ms < gather.ms
    assert join.rows == pytest.approx(112_170, rel=0.01)


def test_the_compiler_and_the_planner_have_their_own_times() -> None:
    """JIT is told by servers that have it, planning with its pages."""
    plan = read("parallel-15.json")
    assert plan.jit_ms == pytest.approx(68.5, abs=0.1)
    assert plan.planning_buffers is not None
    assert plan.total_ms == pytest.approx((plan.execution_ms or 0) + (plan.planning_ms or 0))
    assert read("parallel-18.json").jit_ms is None


def test_rows_of_version_18_may_be_fractions() -> None:
    """They are averages of a loop, told with two decimals since then."""
    loops = [node.rows_per_loop for node in read("parallel-18.json").walk()]
    assert any(rows is not None and rows % 1 for rows in loops)


@pytest.mark.parametrize("version", ["15", "18"])
def test_a_cte_is_charged_to_the_scan_that_has_it_computed(version: str) -> None:
    """Not to the step that it is written under, which has not waited for it."""
    plan = read(f"cte_initplan_subplan-{version}.json")
    (grouping,) = (node for node in plan.walk() if node.subplan == "CTE big")
    assert grouping.type == "GroupAggregate"
    assert plan.slowest is not None
    assert plan.slowest in {grouping, *grouping.children}
    scans = plan.nodes("CTE Scan")
    assert len(scans) == 2
    for scan in scans:
        assert scan.exclusive_ms is not None
        assert grouping.ms is not None
        assert scan.exclusive_ms < grouping.ms
    counted = [node for node in plan.walk() if node.relationship == "SubPlan"]
    assert [node.loops for node in counted] == [152]


def test_a_step_that_went_to_disk_is_found() -> None:
    """A sort, and in version 18 what a CTE has stored."""
    (sort,) = read("timing_off-15.json").spilled
    assert (sort.type, sort.disk_kb) == ("Sort", 8280)
    assert {node.type for node in read("cte_initplan_subplan-18.json").spilled} == {"CTE Scan"}


@pytest.mark.parametrize("version", ["15", "18"])
def test_a_step_that_was_never_come_to_says_so(version: str) -> None:
    """Its times are nought, and it makes no misestimate."""
    plan = read(f"never_executed-{version}.json")
    idle = [node for node in plan.walk() if node.never_executed]
    assert [node.type for node in idle] == ["Bitmap Heap Scan", "Bitmap Index Scan"]
    assert {node.misestimate for node in idle} == {None}
    assert plan.text().count("never executed") == 2
    (scan,) = plan.nodes("Seq Scan")
    assert scan.rows_removed == 20_000
    assert scan.conditions == (("Filter", "(status = 'nobody'::text)"),)


@pytest.mark.parametrize("version", ["15", "18"])
def test_triggers_have_their_share(version: str) -> None:
    """The check of a foreign key is one, and outside the tree."""
    plan = read(f"triggers-{version}.json")
    (trigger,) = plan.triggers
    assert (trigger.calls, trigger.relation) == (50, "orders")
    assert (trigger.ms or 0) > 0
    assert plan.root.type == "Insert"
    assert "trigger RI_ConstraintTrigger" in plan.text()


@pytest.mark.parametrize("version", ["15", "18"])
def test_without_analyze_nothing_is_measured_and_nothing_is_made_up(version: str) -> None:
    """Costs and indexes are still there."""
    plan = read(f"planned_only-{version}.json")
    assert (plan.total_ms, plan.slowest, plan.root.rows, plan.root.ms) == (None, None, None, None)
    assert plan.indexes == ("orders_user_id_total_idx",)
    assert plan.nodes("Index Only Scan")[0].relation == "orders"
    assert plan.text().startswith("not run; cost 4.63")


@pytest.mark.parametrize("version", ["15", "18"])
def test_with_timing_off_rows_are_measured_and_times_are_not(version: str) -> None:
    """That is the cheap way to look."""
    plan = read(f"timing_off-{version}.json")
    assert plan.root.rows == 200_000
    assert plan.root.ms is None
    assert plan.execution_ms is not None


def step(**fields: object) -> dict[str, object]:
    """A step of a plan as EXPLAIN would tell it."""
    return {"Node Type": "Result", "Plan Rows": 1, "Total Cost": 1.0, **fields}


def test_a_misestimate_is_told_as_a_factor_with_one_row_at_least() -> None:
    """A thousand instead of ten is a hundred; nought instead of one is none."""
    plan = Plan.read({"Plan": step(**{"Plan Rows": 10, "Actual Rows": 1000, "Actual Loops": 2})})
    assert plan.root.misestimate == 100
    assert plan.root.rows == 2000
    assert "planned 10" in plan.text()
    assert Plan.read({"Plan": step(**{"Actual Rows": 0, "Actual Loops": 1})}).root.misestimate == 1


def test_rounded_averages_never_make_a_negative_share() -> None:
    """A child of many loops can seem to take longer than its parent."""
    child = step(**{"Actual Rows": 1, "Actual Loops": 1000, "Actual Total Time": 0.011})
    plan = Plan.read(
        {"Plan": step(**{"Actual Rows": 1, "Actual Loops": 1, "Actual Total Time": 10.5, "Plans": [child]})}
    )
    assert plan.root.exclusive_ms == 0
    assert plan.slowest is plan.root.children[0]


def test_hashes_in_batches_and_workers_on_disk_have_spilled() -> None:
    """Each process tells its own, and a hash only the number of its batches."""

    def ran(**fields: object) -> Node:
        return Plan.read({"Plan": step(**{"Actual Rows": 1, "Actual Loops": 1, **fields})}).root

    worker = {"Worker Number": 0, "Sort Space Type": "Disk", "Sort Space Used": 64}
    assert ran(Workers=[worker]).disk_kb == 64
    assert ran(**{"Hash Batches": 4}).spilled
    assert not ran(**{"Hash Batches": 1, "HashAgg Batches": 0}).spilled
    group = {"Sort Space Disk": {"Average Sort Space Used": 9, "Peak Sort Space Used": 12}}
    assert ran(**{"Full-sort Groups": group}).disk_kb == 12


@pytest.mark.parametrize(
    ("explained", "reason"),
    [
        ("Seq Scan on users  (cost=0.00..1.00 rows=1 width=4)", "malformed"),
        ("", "truncated"),
        ("[]", "there are 0"),
        ('[{"Plan": {"Node Type": "Result"}}, {"Plan": {}}]', "there are 2"),
        ("42", "it is a int"),
        ('[{"no": "plan"}]', "it has no Plan"),
        ('[{"Plan": {"Plans": []}}]', "no Node Type"),
        ('[{"Plan": {"Node Type": "Limit", "Plans": [{}]}}]', "no Node Type"),
        (None, "it is a NoneType"),
    ],
)
def test_what_is_no_plan_is_refused_with_the_way_to_get_one(explained: object, reason: str) -> None:
    """The text format is the usual mistake."""
    with pytest.raises(DocumentInvalid, match=reason) as caught:
        Plan.read(explained)
    assert caught.value.mend
