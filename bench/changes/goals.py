"""What has to be shown of changes, as data: each goal says where its figure lies and when it is met."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from goal import Goal, at, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# How much later than its deadline an answer may come to be called "at the deadline": a load of a thousand entities
# has to be put together after it.
LATE_SHARE = 1.2


def _median(*path: str) -> Callable[[Mapping[str, Any]], float | None]:
    def found(questions: Mapping[str, Any]) -> float | None:
        runs = at(*path)(questions)
        return statistics.median(runs) if runs else None

    return found


def _percent(*path: str) -> Callable[[Mapping[str, Any]], float | None]:
    def found(questions: Mapping[str, Any]) -> float | None:
        share = at(*path)(questions)
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
        ways = at("slot", "ways")(questions)
        return max(float(figure(way)) for way in ways.values()) if ways else None

    return found


def _late(kind: str) -> Callable[[Mapping[str, Any]], float | None]:
    def found(questions: Mapping[str, Any]) -> float | None:
        frozen = at("load_many", "frozen")(questions)
        return frozen[f"{kind}_ms"] / frozen["deadline_ms"] if frozen else None

    return found


def _most_turns(questions: Mapping[str, Any]) -> float | None:
    turns = at("load_many", "turns")(questions)
    return max(turns.values()) if turns else None


_POSTGRES = ("latency", "stores", "postgres", "another_process_ms")
_MONGO = ("latency", "stores", "mongo", "another_process_ms")

GOALS = (
    Goal(
        "COMMIT returned → key gone in another process, 100 tx/s: p50",
        "≤ 0.7 ms",
        at(*_POSTGRES, "p50"),
        at_most(0.7),
        "ms",
    ),
    Goal("… p95", "≤ 3 ms", at(*_POSTGRES, "p95"), at_most(3.0), "ms"),
    Goal("… MongoDB, w: 1: p50", "≤ 6 ms", at(*_MONGO, "p50"), at_most(6.0), "ms"),
    Goal(
        "a backlog of one-row transactions, one reader",
        "≥ 30,000 a second",
        _median("backlog", "one_row_commits"),
        at_least(30_000),
        "a second",
    ),
    Goal(
        "… rows of a large one, key only",
        "≥ 60,000 a second",
        _median("backlog", "rows_of_one_commit"),
        at_least(60_000),
        "a second",
    ),
    Goal(
        "32 writers: transactions a second lost by emit",
        "≤ 15 %",
        _percent("writer", "clients", "32", "emit", "cost"),
        at_most(15.0),
        "%",
    ),
    Goal("racing reads again", "≥ 100,000", at("race", "arms", "rule", "reads"), at_least(100_000)),
    Goal("… kept old", "0", at("race", "arms", "rule", "stale"), at_most(0)),
    Goal("… kept old without the rule", "> 0", at("race", "arms", "none", "stale"), at_least(1)),
    Goal("outbox, all killed at random: for so long", "≥ 600 s", at("faults", "seconds"), at_least(600), "s"),
    Goal("… lost, made up, twice or out of order", "0", _wrong, at_most(0)),
    Goal(
        "slot unread: log kept beside the cap and the server's own",
        "≤ 1×",
        _worst(lambda way: way["kept_mb_max"] / way["bound_mb"]),
        at_most(1.0),
        "×",
    ),
    Goal(
        "… ways to stand still without a warning before", "0", _worst(lambda way: not way["warned_before"]), at_most(0)
    ),
    Goal("… resyncs when it comes back", "1", _worst(lambda way: way["resyncs"]), lambda value: value == 1),
    Goal("1,000 entities: round trips a store", "1", _most_turns, lambda value: value == 1),
    Goal("… beside the slowest store alone", "≤ 3×", at("load_many", "to_slowest_entity"), at_most(3.0), "×"),
    Goal(
        "… a store frozen, required: error, in deadlines",
        f"≤ {LATE_SHARE}×",
        _late("required"),
        at_most(LATE_SHARE),
        "×",
    ),
    Goal("… optional: degraded, in deadlines", f"≤ {LATE_SHARE}×", _late("optional"), at_most(LATE_SHARE), "×"),
)
