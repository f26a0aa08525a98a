"""What has to be shown, as data: each goal says where its figures lie and when it is met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SMALL, ONE, MANY_TASKS = "profile of 209 B", "1 task, 209 B", "64 tasks, 209 B"
FOUR, KILLED = "4 processes, 50 callers each", "4 processes, 50 callers each, the loading one killed"
OURS = "tercet @cache"

# Decorated functions with memory and Redis behind them. The drivers' own client-side caches are shown beside.
TWO_TIERS = ("cashews @cache client_side",)

# The most that one key's state may weigh to be called constant: a name and a number or two.
RATE_BYTES = 256


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a run in one loop."""

    questions: Mapping[str, Any]
    loop: str

    def cell(self, question: str, *path: str) -> Any:
        """A figure, or None where it was not measured, refused, or is one of calls that brought nothing."""
        found = self.questions.get(question, {}).get("loops", {}).get(self.loop)
        for step in path:
            if not isinstance(found, Mapping) or found.get("refused") or found.get("nothing"):
                return None
            found = found.get(step)
        return found


@dataclass(frozen=True, slots=True)
class Goal:
    """A line of the table: what, how much is wanted, how it is found, how it is written."""

    what: str
    wanted: str
    value: Callable[[Answers], float | None]
    meets: Callable[[float], bool]
    unit: str = ""


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def _at_most(limit: float) -> Callable[[float], bool]:
    return lambda value: value <= limit


def _at_least(limit: float) -> Callable[[float], bool]:
    return lambda value: value >= limit


def _exactly(wanted: float) -> Callable[[float], bool]:
    return lambda value: value == wanted


def _l2(answers: Answers, side: str) -> float | None:
    return answers.cell("l2", MANY_TASKS, side, "cpu_us")  # type: ignore[no-any-return]  # figures are numbers


def _best_tiers(answers: Answers) -> float | None:
    found = [answers.cell("l1", SMALL, side, "cpu_us") for side in TWO_TIERS]
    return min((one for one in found if one is not None), default=None)


def _many(answers: Answers) -> float | None:
    for side in ("tercet @cache .many", "tercet cache.get"):
        found: float | None = answers.cell("many", "1 caller", side, "keys_per_second_core")
        if found is not None:
            return found
    return None


def _unserved(answers: Answers) -> float | None:
    """Callers that got an error or nothing, over both cases of four processes."""
    cases = [answers.cell("stampede", case, OURS) for case in (FOUR, KILLED)]
    return None if None in cases else float(sum(one["errors"] + one["unserved"] for one in cases))


def _cell(question: str, *path: str) -> Callable[[Answers], float | None]:
    return lambda answers: answers.cell(question, *path)


GOALS = (
    Goal("decorated hit in this process", "≤ 0.6 µs", _cell("l1", SMALL, OURS, "cpu_us"), _at_most(0.6), "µs"),
    Goal(
        "… beside the best decorated cache of two tiers",
        "≥ 50×",
        lambda a: _ratio(_best_tiers(a), a.cell("l1", SMALL, OURS, "cpu_us")),
        _at_least(50),
        "×",
    ),
    Goal("hit in Redis, 64 tasks, 209 B", "≤ 10 µs CPU", lambda a: _l2(a, "tercet cache.get"), _at_most(10), "µs"),
    Goal(
        "… beside redis-py GET + orjson",
        "≥ 12×",
        lambda a: _ratio(_l2(a, "redis-py GET + orjson"), _l2(a, "tercet cache.get")),
        _at_least(12),
        "×",
    ),
    Goal(
        "… beside cashews",
        "≥ 20×",
        lambda a: _ratio(_l2(a, "cashews .get"), _l2(a, "tercet cache.get")),
        _at_least(20),
        "×",
    ),
    Goal("64 keys at once, decoded", "≥ 250,000 keys/s a core", _many, _at_least(250_000), "keys/s"),
    Goal(
        "hit in Redis, one caller: median beside redis-py's",
        "≤ 0.5×",
        lambda a: _ratio(
            a.cell("l2", ONE, "tercet cache.get", "p50_us"), a.cell("l2", ONE, "redis-py GET + orjson", "p50_us")
        ),
        _at_most(0.5),
        "×",
    ),
    Goal("cold key, 4 × 50 callers: loads", "1", _cell("stampede", FOUR, OURS, "loads_max"), _exactly(1)),
    Goal(
        "… all served after, in load times", "≤ 1.3×", _cell("stampede", FOUR, OURS, "of_the_load"), _at_most(1.3), "×"
    ),
    Goal("… the loading process killed: loads", "2", _cell("stampede", KILLED, OURS, "loads_max"), _exactly(2)),
    Goal(
        "… all served after the kill, in load times",
        "≤ 1.3×",
        _cell("stampede", KILLED, OURS, "of_the_load"),
        _at_most(1.3),
        "×",
    ),
    Goal("… callers of the living left without a value", "0", _unserved, _exactly(0)),
    Goal("a tag with 10,000 of 200,000 dropped", "≤ 1 ms", _cell("tags", "tercet drop_tags", "ms"), _at_most(1), "ms"),
    Goal(
        "lock, 50 tasks × 5 ms, beside 250 ms",
        "≤ 1.3×",
        _cell("locks", "tercet db.lock", "of_ideal"),
        _at_most(1.3),
        "×",
    ),
    Goal("… served out of turn", "0", _cell("locks", "tercet db.lock", "inversions_max"), _exactly(0)),
    Goal("… holders at once", "1", _cell("locks", "tercet db.lock", "holders_max"), _exactly(1)),
    Goal("limit check, 64 tasks", "≤ 15 µs CPU", _cell("rate", "tercet db.limit (GCRA)", "cpu_us"), _at_most(15), "µs"),
    Goal(
        "… bytes a key after 2,000 hits",
        f"constant: ≤ {RATE_BYTES}",
        _cell("rate", "tercet db.limit (GCRA)", "bytes_a_key"),
        _at_most(RATE_BYTES),
        "B",
    ),
    Goal("Redis frozen: the first call", "≤ 50 ms", _cell("frozen", OURS, "first_ms"), _at_most(50), "ms"),
    Goal("… later calls", "≤ 1 ms", _cell("frozen", OURS, "later_ms"), _at_most(1), "ms"),
    Goal("… normal after the thaw", "≤ 2 s", _cell("frozen", OURS, "normal_after_thaw_s"), _at_most(2), "s"),
)
