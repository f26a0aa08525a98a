"""What has to be shown of the advisor, as data: each goal says where its figure lies and when it is met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from goal import Goal, at, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from goal import Answers

OURS = {226: "tercet thorough 226", 500: "tercet thorough 500"}
# Cut off after a while, a statement is at least so many times quicker with its index.
MENDED = 10.0


def _each(part: str, figure: Callable[[Mapping[str, Any]], float | None], worst: Callable[..., float]) -> Any:
    """The worst of a part's figure over all servers that it was measured on."""

    def found(questions: Answers) -> float | None:
        on = at(part, "on")(questions) or {}
        values = [value for one in on.values() if (value := figure(one)) is not None]
        return worst(values) if values else None

    return found


def _lowest(part: str, *path: str) -> Any:
    return _each(part, at(*path), min)


def _highest(part: str, *path: str) -> Any:
    return _each(part, at(*path), max)


def _side(name: str, figure: str) -> Any:
    return _highest("tpch", "sides", name, figure)


def _beside(name: str, peer: str, figure: str) -> Any:
    """Ours in proportion to a peer's, of the same server."""

    def ratio(on: Mapping[str, Any]) -> float | None:
        ours, theirs = at("sides", name, figure)(on), at("sides", peer, figure)(on)
        return None if not ours or not theirs else float(ours / theirs)

    return _each("tpch", ratio, max)


def _slower(name: str) -> Any:
    def count(on: Mapping[str, Any]) -> float | None:
        slower = at("sides", name, "slower")(on)
        return None if slower is None else float(len(slower))

    return _each("tpch", count, max)


def _quick(on: Mapping[str, Any]) -> float | None:
    taken = [one["seconds"] for name, one in on["choices"].items() if " quick " in name]
    return max(taken, default=None)


def _mended(number: int) -> Any:
    def ratio(on: Mapping[str, Any]) -> float | None:
        one = at("apart", f"Q{number}")(on)
        return None if one is None else float(one["ms_before"] / one["ms_after"])

    return _each("tpch", ratio, min)


def _many(*path: str) -> Any:
    """How many there are in a list."""

    def count(questions: Answers) -> float | None:
        found = at(*path)(questions)
        return None if found is None else float(len(found))

    return count


def _of_all(way: str) -> Any:
    def share(questions: Answers) -> float | None:
        one = at("planted", "ways", way)(questions)
        return None if one is None else 100.0 * float(one["right"]) / float(one["of"])

    return share


def _undue(questions: Answers) -> float | None:
    ways = at("planted", "ways")(questions)
    return None if ways is None else float(sum(len(one["undue"]) for one in ways.values()))


def errands(on: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything that was done to a server while somebody watched, by name."""
    for name in ("shadow", "advise", "copy"):
        yield name, on["tpch"][name]
    for name in ("advise", "copy"):
        yield f"{name}, all tables in EXCLUSIVE mode", on["tpch"]["under_exclusive"][name]
    yield "advise, a table in ACCESS EXCLUSIVE mode", on["tpch"]["under_access_exclusive"]
    yield (
        f"advise, {on['many']['tables']:,} tables, {on['many']['kept_statements']:,} statements",
        on["many"]["statistics"],
    )
    yield "advise, a script with errors", on["many"]["script"]


def _beyond(on: Mapping[str, Any]) -> float:
    return float(sum(one["beyond"] for _, one in errands(on)))


def _stopped(on: Mapping[str, Any]) -> float:
    """Errands that came to nothing; the one before which a table is locked away may."""
    free = (one for name, one in errands(on) if "ACCESS" not in name)
    return float(sum(one.get("ended", "copied") not in {"advice", "copied"} for one in free))


def _told(on: Mapping[str, Any]) -> float:
    """The least share of the bytes on the wire that the advisor tells of."""
    return min(float(one["told_bytes"] / one["from_server_bytes"]) for _, one in errands(on) if one.get("told_bytes"))


def _unbuilt(on: Mapping[str, Any]) -> float:
    built = on["many"]["counted_hot"] | {f"script: {name}": end for name, end in on["many"]["script_built"].items()}
    return float(sum(end != "built" for end in built.values()))


def _wrong(questions: Answers) -> float | None:
    """Whatever a check under way or the one at the end has found."""
    kept = at("kept", "faults")(questions)
    if kept is None:
        return None
    prices = at("kept", "prices")(questions) or {}
    after = sum(count for name, count in prices.items() if name.startswith("wrong_"))
    return float(kept["differences"] + kept["groups wrong at the end"] + after)


def _dearer(way: str) -> Any:
    def more(questions: Answers) -> float | None:
        taken = at("kept", "prices", "single_insert_ms")(questions)
        return None if taken is None else float(taken[way] - taken["none"])

    return more


def _shown(_: float) -> bool:
    """Of what is only to be shown."""
    return True


def _documents(met: Callable[[Mapping[str, Any]], bool]) -> Any:
    def count(questions: Answers) -> float | None:
        verdicts = at("mongo", "verdicts")(questions)
        return None if verdicts is None else float(sum(not met(one) for one in verdicts.values()))

    return count


def _let_pass(questions: Answers) -> float | None:
    applied = at("mongo", "applied")(questions)
    if applied is None:
        return None
    wrong = [one for one in applied["refused"].values() if one["done"]]
    return float(len(wrong) + sum(not one["done"] for one in applied["stands"].values()))


GOALS = (
    Goal("shadow, TPC-H without indexes: the same plan", "22 of 22", _lowest("shadow", "tpch", "without", "same_plan"),
         at_least(22)),
    Goal("… and the very same cost", "22 of 22", _lowest("shadow", "tpch", "without", "equal_cost"), at_least(22)),
    Goal("… TPC-DS: planned", "99 of 99", _lowest("shadow", "tpcds", "planned"), at_least(99)),
    Goal("… TPC-DS: the same plan", "99 of 99", _lowest("shadow", "tpcds", "same_plan"), at_least(99)),
    Goal("… ready", "≤ 3 s", _highest("shadow", "tpch", "ready_seconds"), at_most(3.0), "s"),
    Goal("20 indexes supposed, then built: cost error, mean", "≤ 0.5 %",
         _highest("shadow", "tpch", "estimated", "mean_percent"), at_most(0.5), "%"),
    Goal("… sizes within a tenth", "≥ 18 of 20", _lowest("shadow", "tpch", "estimated", "near"), at_least(18)),
    Goal("… with a sample: cost error, mean", "≤ 0.5 %", _highest("shadow", "tpch", "sampled", "mean_percent"),
         at_most(0.5), "%"),
    Goal("… with a sample: sizes within a tenth", "≥ 18 of 20", _lowest("shadow", "tpch", "sampled", "near"),
         at_least(18)),
    Goal("TPC-H, 19 statements, ≤ 226 MB: real size", "≤ 226 MB", _side(OURS[226], "real_mb"), at_most(226.0), "MB"),
    Goal("… time beside Dexter's choice", "< 1×", _beside(OURS[226], "dexter-50", "total_ms"),
         lambda value: value < 1, "×"),
    Goal("… without Q1 and Q18, half of the time without indexes", "< 1×",
         _beside(OURS[226], "dexter-50", "without_q1_q18_ms"), lambda value: value < 1, "×"),
    Goal("… statements more than 10 % slower than without indexes", "0", _slower(OURS[226]), at_most(0)),
    Goal("… time beside Extend's choice (222 MB)", "< 1×", _beside(OURS[226], "extend-500", "total_ms"),
         lambda value: value < 1, "×"),
    Goal("≤ 500 MB: real size", "≤ 500 MB", _side(OURS[500], "real_mb"), at_most(500.0), "MB"),
    Goal("… time beside Extend's choice", "< 1×", _beside(OURS[500], "extend-500", "total_ms"),
         lambda value: value < 1, "×"),
    Goal("… statements more than 10 % slower than without indexes", "0", _slower(OURS[500]), at_most(0)),
    Goal("quick, from the first question to the last", "≤ 2 s", _each("tpch", _quick, max), at_most(2.0), "s"),
    Goal("Q17 with the index that it needs", f"≥ {MENDED:.0f}× faster", _mended(17), at_least(MENDED), "×"),
    Goal("Q20 with the index that it needs", f"≥ {MENDED:.0f}× faster", _mended(20), at_least(MENDED), "×"),
    Goal("reference query, 1M/5M: rung 1 beside the best by hand", "≤ 1.1×", at("reference", "rung_1_to_hand"),
         at_most(1.1), "×"),
    Goal("… rung 2", "≤ 1 ms", at("reference", "rung_2_ms"), at_most(1.0), "ms"),
    Goal("… ways that answer other rows", "0", _many("reference", "other_rows"), at_most(0)),
    Goal("… sentences on what no index can do", "≥ 1", _many("reference", "no_index_notes"), at_least(1)),
    Goal("… an open top is told of", "≥ 1", _many("reference", "undetermined_notes"), at_least(1)),
    Goal("planted cases", "≥ 30", at("planted", "cases"), at_least(30)),
    Goal("… right advice, planned", "100 %", _of_all("planned"), at_least(100), "%"),
    Goal("… right advice, run", "100 %", _of_all("run"), at_least(100), "%"),
    Goal("… advice where none is due", "0", _undue, at_most(0)),
    Goal("production: locks beyond AccessShare", "0", _each("production", _beyond, max), at_most(0)),
    Goal("… errands that came to nothing, EXCLUSIVE held on all tables among them", "0",
         _each("production", _stopped, max), at_most(0)),
    Goal("… share of the bytes taken that is told", "≥ 0.9", _each("production", _told, min), at_least(0.9)),
    Goal("… tables", "≥ 1,000", _lowest("production", "many", "tables"), at_least(1_000)),
    Goal("… statements counted", "≥ 100,000", _lowest("production", "many", "kept_statements"), at_least(100_000)),
    Goal("… advised indexes that could not be built as written (odd names, no statistics)", "0",
         _each("production", _unbuilt, max), at_most(0)),
    Goal("summaries under random writes and kills: checks", "≥ 1,000", at("kept", "faults", "checks"), at_least(1_000)),
    Goal("… rows that differ from the view", "0", _wrong, at_most(0)),
    Goal("… one insert takes more: kept by triggers", "shown", _dearer("triggers"), _shown, "ms"),
    Goal("… one insert takes more: kept by a log", "shown", _dearer("delta"), _shown, "ms"),
    Goal("… beside them: a refresh of the view", "shown", at("kept", "prices", "refresh", "concurrently_seconds"),
         _shown, "s"),
    Goal("MongoDB, 1M/3M: pipelines that are not served as well as by the best candidate", "0",
         _documents(lambda one: bool(one["as_good"])), at_most(0)),
    Goal("… pipelines that an advised index made slower", "0", _documents(lambda one: not one["slower"]), at_most(0)),
    Goal("… known regressions that the real server let pass, or advice that it refused", "0", _let_pass, at_most(0)),
)  # fmt: skip
