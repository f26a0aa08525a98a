"""What has to be shown of changes, as data: each goal says where its figure lies and when it is met."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# How much later than its deadline an answer may come to be called "at the deadline": a load of a thousand entities
# has to be put together after it.
LATE_SHARE = 1.2


@dataclass(frozen=True, slots=True)
class Goal:
    """A line of the table: what, how much is wanted, how it is found, how it is written."""

    what: str
    wanted: str
    value: Callable[[Mapping[str, Any]], float | None]
    meets: Callable[[float], bool]
    unit: str = ""


def _at(*path: str) -> Callable[[Mapping[str, Any]], Any]:
    """The figure that lies there, or None where it was not measured."""

    def found(questions: Mapping[str, Any]) -> Any:
        cell: Any = questions
        for step in path:
            if not isinstance(cell, Mapping) or "failed" in cell:
                return None
            cell = cell.get(step)
        return cell

    return found


def _median(*path: str) -> Callable[[Mapping[str, Any]], float | None]:
    def found(questions: Mapping[str, Any]) -> float | None:
        runs = _at(*path)(questions)
        return statistics.median(runs) if runs else None

    return found


def _percent(*path: str) -> Callable[[Mapping[str, Any]], float | None]:
    def found(questions: Mapping[str, Any]) -> float | None:
        share = _at(*path)(questions)
        return None if share is None else share * 100

    return found


def _wrong(questions: Mapping[str, Any]) -> float | None:
    """All that the storm found lost, made up, out of order or done twice, and deaths that had another reason."""
    found = questions.get("faults", {})
    if "lost" not in found:
        return None
    kinds = ("lost", "made_up", "twice", "out_of_order")
    wrong = sum(sum(found[kind].values()) for kind in kinds)
    return float(wrong + found["dead_for_another_reason"] + found["missing"])


def _worst(figure: Callable[[Mapping[str, Any]], float | bool]) -> Callable[[Mapping[str, Any]], float | None]:
    """The larger of both ways in which a slot's reader stood still."""

    def found(questions: Mapping[str, Any]) -> float | None:
        ways = _at("slot", "ways")(questions)
        return max(float(figure(way)) for way in ways.values()) if ways else None

    return found


def _late(kind: str) -> Callable[[Mapping[str, Any]], float | None]:
    def found(questions: Mapping[str, Any]) -> float | None:
        frozen = _at("load_many", "frozen")(questions)
        return frozen[f"{kind}_ms"] / frozen["deadline_ms"] if frozen else None

    return found


def _most_turns(questions: Mapping[str, Any]) -> float | None:
    turns = _at("load_many", "turns")(questions)
    return max(turns.values()) if turns else None


def _at_most(most: float) -> Callable[[float], bool]:
    return lambda value: value <= most


def _at_least(least: float) -> Callable[[float], bool]:
    return lambda value: value >= least


_POSTGRES = ("latency", "stores", "postgres", "another_process_ms")
_MONGO = ("latency", "stores", "mongo", "another_process_ms")

GOALS = (
    Goal(
        "COMMIT returned → key gone in another process, 100 tx/s: p50",
        "≤ 0.7 ms",
        _at(*_POSTGRES, "p50"),
        _at_most(0.7),
        "ms",
    ),
    Goal("… p95", "≤ 3 ms", _at(*_POSTGRES, "p95"), _at_most(3.0), "ms"),
    Goal("… MongoDB, w: 1: p50", "≤ 6 ms", _at(*_MONGO, "p50"), _at_most(6.0), "ms"),
    Goal(
        "a backlog of one-row transactions, one reader",
        "≥ 30,000 a second",
        _median("backlog", "one_row_commits"),
        _at_least(30_000),
        "a second",
    ),
    Goal(
        "… rows of a large one, key only",
        "≥ 60,000 a second",
        _median("backlog", "rows_of_one_commit"),
        _at_least(60_000),
        "a second",
    ),
    Goal(
        "32 writers: transactions a second lost by emit",
        "≤ 15 %",
        _percent("writer", "clients", "32", "emit", "cost"),
        _at_most(15.0),
        "%",
    ),
    Goal("racing reads again", "≥ 100,000", _at("race", "arms", "rule", "reads"), _at_least(100_000)),
    Goal("… kept old", "0", _at("race", "arms", "rule", "stale"), _at_most(0)),
    Goal("… kept old without the rule", "> 0", _at("race", "arms", "none", "stale"), _at_least(1)),
    Goal("outbox, all killed at random: for so long", "≥ 600 s", _at("faults", "seconds"), _at_least(600), "s"),
    Goal("… lost, made up, twice or out of order", "0", _wrong, _at_most(0)),
    Goal(
        "slot unread: log kept beside the cap and the server's own",
        "≤ 1×",
        _worst(lambda way: way["kept_mb_max"] / way["bound_mb"]),
        _at_most(1.0),
        "×",
    ),
    Goal(
        "… ways to stand still without a warning before", "0", _worst(lambda way: not way["warned_before"]), _at_most(0)
    ),
    Goal("… resyncs when it comes back", "1", _worst(lambda way: way["resyncs"]), lambda value: value == 1),
    Goal("1,000 entities: round trips a store", "1", _most_turns, lambda value: value == 1),
    Goal("… beside the slowest store alone", "≤ 3×", _at("load_many", "to_slowest_entity"), _at_most(3.0), "×"),
    Goal(
        "… a store frozen, required: error, in deadlines",
        f"≤ {LATE_SHARE}×",
        _late("required"),
        _at_most(LATE_SHARE),
        "×",
    ),
    Goal("… optional: degraded, in deadlines", f"≤ {LATE_SHARE}×", _late("optional"), _at_most(LATE_SHARE), "×"),
)
