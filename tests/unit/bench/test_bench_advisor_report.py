"""The pure parts of the advisor's benchmark: its tables of a result, the peers' choices, and its statements."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tercet.sql import Statement
from tercet.sql.tree import parse

ROOT = Path(__file__).parents[3]
BENCH = ROOT / "bench" / "advisor"

_PLANS = {"planned": 99, "same_plan": 99, "equal_cost": 99, "mean_percent": 0.0, "worst_percent": 0.0}
_TWINS = _PLANS | {"planned": 22, "same_plan": 22, "equal_cost": 22}
_GUESSED = _TWINS | {"mean_percent": 0.2, "near": 19, "ratios": {"orders(o_custkey)": 1.02}}


def _side(megabytes: float, ms: float) -> dict[str, Any]:
    return {
        "real_mb": megabytes, "total_ms": ms, "without_q1_q18_ms": ms / 2, "cpu_ms": ms, "cost": 10 * ms,
        "build_ms": 900.0, "slower": [], "ms_by_query": {"Q1": ms / 2, "Q3": ms / 2}, "indexes": ["create index …"],
    }  # fmt: skip


def _errand() -> dict[str, Any]:
    return {
        "seconds": 1.5, "server_cpu_seconds": 0.2, "from_server_bytes": 1_000, "told_bytes": 950, "told_seconds": 0.1,
        "looks": 500, "locks": {"relation AccessShareLock": 70}, "beyond": 0, "ended": "advice",
    }  # fmt: skip


def _choice(seconds: float) -> dict[str, Any]:
    return {"seconds": seconds, "explains": 100, "ended": True, "estimated_mb": 220.0, "indexes": []}


def _whole() -> dict[str, Any]:
    """A result in which every goal is met."""
    tpch = {"without": _TWINS, "estimated": _GUESSED, "sampled": _GUESSED, "real_mb": {"orders(o_custkey)": 12.6},
            "ready_seconds": 1.5, "read_bytes": 110_000, "read_seconds": 0.1, "suppose_ms": 3.1}  # fmt: skip
    sides = {"none": _side(0.0, 52_000.0), "dexter-50": _side(226.4, 30_000.0), "extend-500": _side(221.7, 40_000.0),
             "tercet thorough 226": _side(225.0, 29_000.0), "tercet thorough 500": _side(480.0, 27_000.0)}  # fmt: skip
    apart = {f"Q{one}": {"indexes": [], "ms_before": 30_000.0, "cut_off": True, "ms_after": 9.0} for one in (17, 20)}
    way = {"right": 38, "of": 38, "none_due": 7, "undue": [], "wrong": {}, "seconds": 60.0}
    timed = {"ms_best": 640.0, "ms_median": 650.0, "cpu_ms": 600.0, "same_rows": True}
    questions: dict[str, Any] = {
        "shadow": {"on": {"PostgreSQL 18.6": {"tpcds": _PLANS, "tpch": tpch}}},
        "tpch": {"on": {"PostgreSQL 18.6": {"sides": sides, "apart": apart, "choices": {
            "tercet quick 226": _choice(1.1), "tercet thorough 226": _choice(40.0)}}}},
        "reference": {
            "users": 1_000_000, "orders": 5_000_000, "advise_seconds": 120.0, "rung_1_to_hand": 1.02, "rung_2_ms": 0.6,
            "other_rows": [], "no_index_notes": ["no index …"], "undetermined_notes": ["LIMIT: …"], "rejected": [],
            "notes": ["no index …"], "pieces": [{"kind": "view", "ddl": ["create materialized view …"], "why": "…"}],
            "best_by_hand": "late", "ways": {"as written": timed, "by hand: late": timed, "advisor: rung 2": timed},
        },
        "planted": {"cases": 38, "ways": {"planned": way, "run": way}},
        "production": {"on": {"PostgreSQL 18.6": {
            "tpch": {"shadow": _errand(), "advise": _errand(), "copy": _errand(), "under_access_exclusive": _errand(),
                     "under_exclusive": {"advise": _errand(), "copy": _errand()}},
            "many": {"tables": 1_000, "kept_statements": 103_000, "statistics": _errand(),
                     "script": _errand() | {"notes": ["it is\n no SQL"]}, "counted_hot": {"hot": "built"},
                     "script_built": {"hot": "built"}}}}},
        "kept": {
            "faults": {"checks": 4_000, "differences": 0, "groups wrong at the end": 0},
            "prices": {"single_insert_ms": {"none": 0.2, "triggers": 0.46, "delta": 0.4}, "wrong_delta": 0,
                       "refresh": {"concurrently_seconds": 14.0}},
        },
        "mongo": {
            "verdicts": {"daily revenue": {"as_good": True, "slower": False}},
            "applied": {"refused": {"(status, created_at)": {"done": False}}, "stands": {"(user)": {"done": True}}},
        },
    }  # fmt: skip
    for answer in questions.values():
        answer |= {"scale": 1.0, "servers": ["PostgreSQL 18.6"]}
    machine = {
        "cpu": "A processor",
        "cores": 2,
        "system": "Debian",
        "python": "CPython 3.11",
        "servers": ["PostgreSQL"],
    }
    return deepcopy({
        "format": "tercet.advisor-bench/1", "at": "2026-11-22T12:00:00+00:00", "quick": False, "machine": machine,
        "questions": questions,
    })  # fmt: skip


def _said(tmp_path: Path, whole: dict[str, Any], *words: str) -> subprocess.CompletedProcess[str]:
    """What report.py says of it; with no words, the README's block."""
    path = tmp_path / "advisor-2026-11-22.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    block = "import sys, pathlib, report; print(report.REPORT.written(report.REPORT.start + report.REPORT.end, "
    command = (
        [str(BENCH / "report.py"), str(path), *words]
        if words
        else ["-c", f"{block}pathlib.Path(sys.argv[1])))", str(path)]
    )
    paths = os.pathsep.join([str(ROOT / "src"), str(BENCH)])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, *command], check=False, env=environment, capture_output=True, text=True, cwd=tmp_path
    )


def _goals(page: str) -> list[list[str]]:
    """The lines of the first table: what, goal, measured, met."""
    table = page[page.index("| what |") :].partition("\n\n")[0]
    return [[one.strip() for one in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_each_goal_of_the_advisor_finds_its_figure(tmp_path: Path) -> None:
    """Of a result with every part in it, no goal stays without a figure, and all are met."""
    page = _said(tmp_path, _whole(), "--markdown").stdout
    assert len(_goals(page)) >= 30
    assert [line for line in _goals(page) if line[-1] != "yes"] == []
    for words in ("Advised:\n\n- view: create materialized view …", "- it is no SQL", "### PostgreSQL 18.6, scale 1"):
        assert words in page


def test_what_the_advisor_loses_is_shown(tmp_path: Path) -> None:
    """A goal that is missed on one of two servers is missed, and the README says how many are."""
    whole = _whole()
    on = whole["questions"]["tpch"]["on"]
    on["PostgreSQL 15.18"] = deepcopy(on["PostgreSQL 18.6"])
    on["PostgreSQL 15.18"]["sides"]["tercet thorough 226"]["total_ms"] = 33_000.0
    on["PostgreSQL 15.18"]["sides"]["tercet thorough 500"]["slower"] = ["Q7", "Q14"]
    block = _said(tmp_path, whole).stdout
    lost = [line for line in _goals(block) if line[-1] == "**no**"]
    assert [line[2] for line in lost] == ["1.1×", "2"]
    assert "2 of them are missed, and shown. A processor · 2 cores" in block


def test_a_part_that_was_not_measured_is_told(tmp_path: Path) -> None:
    """One that failed and one that was never asked leave their goals open, and the reason is on the page."""
    whole = _whole()
    whole["questions"]["reference"] = {"failed": "it ended with 1"}
    del whole["questions"]["mongo"]
    page = _said(tmp_path, whole, "--markdown").stdout
    assert {line[-1] for line in _goals(page)} == {"yes", "not measured"}
    assert "It could not be asked: it ended with 1." in page


def test_figures_of_another_size_are_never_shown(tmp_path: Path) -> None:
    """The README's block is refused for a run of another size than the goals are meant at."""
    done = _said(tmp_path, _whole() | {"quick": True})
    assert done.returncode != 0
    assert "quick run" in done.stderr


def _columns() -> dict[str, set[str]]:
    """TPC-H's columns by table, as the benchmark makes them."""
    text = re.sub(r"--.*", "", (BENCH / "tpch.sql").read_text(encoding="utf-8"))
    tables = re.findall(r"create table (\w+) \((.*?)\);", text, flags=re.DOTALL)
    return {name: set(re.findall(r"\b[a-z]{1,2}_\w+", inner)) for name, inner in tables}


def test_the_peers_choices_are_indexes_of_tpch() -> None:
    """Each names columns that its table has, and says whose choice it was."""
    columns = _columns()
    assert len(columns) == 8
    peers = json.loads((BENCH / "peers.json").read_text(encoding="utf-8"))
    assert {"dexter-50", "extend-500"} <= peers.keys()
    for name, peer in peers.items():
        assert peer["from"], name
        assert len(peer["indexes"]) == len(set(peer["indexes"])) > 0
        for one in peer["indexes"]:
            table, _, keys = one.removesuffix(")").partition("(")
            assert set(keys.split(",")) <= columns[table], one


@pytest.mark.parametrize("name", ["tpch.sql", "reference.sql", "production.sql"])
def test_the_statements_of_the_benchmark_can_be_read(name: str) -> None:
    """All but those that are wrong on purpose are PostgreSQL's SQL."""
    text = (BENCH / name).read_text(encoding="utf-8")
    blocks = dict(one.split("\n", 1) for one in text.split("-- name: ")[1:]) or {"": text}
    blocks.pop("errors", None)
    for block in blocks.values():
        whole = re.sub(r"\{(\w+)\}", r"a_\1", block).replace(":since", "'2024-01-01'")
        statements = Statement.split(whole)
        assert statements
        for one in statements:
            parse(one.text)
