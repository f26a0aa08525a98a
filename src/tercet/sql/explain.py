"""Reads what EXPLAIN (FORMAT JSON) says of a step; a field that a version does not have is left out.

What PostgreSQL means by its figures: times and rows are averages of one loop; the buffers, heap fetches and
times of a step hold those of the steps below it; below a Gather, the loops of all processes are added up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tercet.errors import DocumentInvalid
from tercet.sql.node import Buffers, Node

Raw = Mapping[str, object]

MEND = "Give what EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) returns."

_CONDITIONS = (
    "Index Cond",
    "Recheck Cond",
    "Order By",
    "TID Cond",
    "Hash Cond",
    "Merge Cond",
    "Join Filter",
    "Filter",
    "One-Time Filter",
    "Function Call",
)
# One of these is in every step of a plan that was run.
_RUN = frozenset({"Actual Rows", "Actual Loops", "Actual Total Time"})
_REMOVED = ("Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")
_GATHERS = frozenset({"Gather", "Gather Merge"})
_PARAMETER = re.compile(r"\$\d+")


def read_node(raw: object) -> Node:
    """The tree of steps in the value of "Plan". Raises DocumentInvalid."""
    return _Reader(_checked(raw)).root()


class _Reader:
    """Knows the time of every step of one plan, and who has to answer for it."""

    def __init__(self, root: Raw) -> None:
        self._root = root
        # By identity: two steps of a plan may look exactly alike.
        self._ms: dict[int, float] = {}
        self._below: dict[int, float] = {}

    def root(self) -> Node:
        if not _RUN & self._root.keys():
            return _planned(self._root)
        self._measure(self._root, 1.0)
        for raw in _walk(self._root):
            for child in _children(raw):
                self._charge(raw, child)
        return self._node(self._root)

    def _measure(self, raw: Raw, processes: float) -> None:
        """The wall-clock time of each step: what several processes did side by side is divided by them."""
        ms = _number(raw, "Actual Total Time")
        if ms is not None:
            self._ms[id(raw)] = ms * _loops(raw) / processes
        for child in _children(raw):
            beside = processes
            if raw.get("Node Type") in _GATHERS and child.get("Parent Relationship") != "InitPlan":
                # A Gather in a loop has its child looped as often, in each process.
                beside = processes * max(_loops(child) / max(_loops(raw), 1.0), 1.0)
            self._measure(child, beside)

    def _charge(self, raw: Raw, child: Raw) -> None:
        """Note the time of a step with the one whose time holds it: mostly its parent."""
        ms = self._ms.get(id(child), 0.0)
        name = str(child.get("Subplan Name", ""))
        if child.get("Parent Relationship") != "InitPlan":
            self._note(raw, ms)
        elif name.startswith("CTE "):
            self._charge_scans(name.removeprefix("CTE "), ms)
        else:
            self._note(_user(raw, child, name), ms)

    def _charge_scans(self, cte: str, ms: float) -> None:
        """A CTE is computed as far as its scans ask for rows, and the first to ask has waited."""
        for raw in _walk(self._root):
            if raw.get("Node Type") == "CTE Scan" and raw.get("CTE Name") == cte:
                share = min(ms, self._ms.get(id(raw), 0.0))
                self._note(raw, share)
                ms -= share

    def _note(self, raw: Raw, ms: float) -> None:
        self._below[id(raw)] = self._below.get(id(raw), 0.0) + ms

    def _node(self, raw: Raw) -> Node:
        ms = self._ms.get(id(raw))
        disk_kb, spilled = _spill(raw)
        executed = "Actual Rows" in raw
        return Node(
            *_thought(raw),
            rows_per_loop=_number(raw, "Actual Rows") if executed else None,
            loops=int(_loops(raw)) if executed else None,
            ms=ms,
            # Rounded averages times many loops can make the steps below seem to take longer than all of it.
            exclusive_ms=None if ms is None else max(ms - self._below.get(id(raw), 0.0), 0.0),
            rows_removed=sum(_number(raw, key) or 0.0 for key in _REMOVED) * _loops(raw),
            heap_fetches=_whole(raw, "Heap Fetches"),
            disk_kb=disk_kb,
            spilled=spilled,
            workers_planned=_whole(raw, "Workers Planned") or 0,
            workers_launched=_whole(raw, "Workers Launched") or 0,
            buffers=read_buffers(raw),
            conditions=_conditions(raw),
            children=tuple(self._node(child) for child in _children(raw)),
        )


def _planned(raw: Raw) -> Node:
    """The tree of a plan that was not run: of each step what the planner thinks."""
    return Node(
        *_thought(raw),
        workers_planned=_whole(raw, "Workers Planned") or 0,
        conditions=_conditions(raw),
        children=tuple(_planned(child) for child in _children(raw)),
    )


def _thought(raw: Raw) -> tuple[str, float, float, float, *tuple[str | None, ...]]:
    """The first fields of a Node: the step, what the planner expects of it, and what it works on."""
    return (
        _kind(raw),
        _number(raw, "Plan Rows") or 0.0,
        _number(raw, "Total Cost") or 0.0,
        _number(raw, "Startup Cost") or 0.0,
        _text(raw, "Relation Name") or _text(raw, "CTE Name") or _text(raw, "Function Name"),
        _text(raw, "Schema"),
        _text(raw, "Alias"),
        _text(raw, "Index Name"),
        _text(raw, "Parent Relationship"),
        _text(raw, "Subplan Name"),
        _text(raw, "Join Type"),
    )


def _conditions(raw: Raw) -> tuple[tuple[str, str], ...]:
    return tuple((key, text) for key in _CONDITIONS if key in raw and (text := _text(raw, key)))


def read_buffers(raw: Raw) -> Buffers | None:
    """The pages that are told, or None where BUFFERS was off."""
    if "Shared Hit Blocks" not in raw:
        return None
    return Buffers(
        shared_hit=_whole(raw, "Shared Hit Blocks") or 0,
        shared_read=_whole(raw, "Shared Read Blocks") or 0,
        shared_dirtied=_whole(raw, "Shared Dirtied Blocks") or 0,
        shared_written=_whole(raw, "Shared Written Blocks") or 0,
        local_hit=_whole(raw, "Local Hit Blocks") or 0,
        local_read=_whole(raw, "Local Read Blocks") or 0,
        temp_read=_whole(raw, "Temp Read Blocks") or 0,
        temp_written=_whole(raw, "Temp Written Blocks") or 0,
    )


def _spill(raw: Raw) -> tuple[int, bool]:
    """Kilobytes of disk that sorts, hashes and stored rows say they took, and whether they took any.

    Each process of a parallel step tells its own. A hash in several batches has spilled, and tells no size.
    """
    kilobytes = 0
    spilled = False
    for part in (raw, *_list(raw, "Workers")):
        if part.get("Sort Space Type") == "Disk":
            kilobytes += _whole(part, "Sort Space Used") or 0
            spilled = True
        if part.get("Storage") == "Disk":
            kilobytes += _whole(part, "Maximum Storage") or 0
            spilled = True
        kilobytes += _whole(part, "Disk Usage") or 0
        spilled = spilled or any((_whole(part, key) or 0) > 1 for key in ("Hash Batches", "HashAgg Batches"))
        for groups in ("Full-sort Groups", "Pre-sorted Groups"):
            group = part.get(groups)
            disk = group.get("Sort Space Disk") if isinstance(group, Mapping) else None
            if isinstance(disk, Mapping):
                kilobytes += _whole(disk, "Peak Sort Space Used") or 0
                spilled = True
    return kilobytes, spilled or kilobytes > 0


def _user(raw: Raw, plan: Raw, name: str) -> Raw:
    """The step that has an InitPlan computed: the first whose conditions speak of its result."""
    marks = _PARAMETER.findall(name) or [f"({name})"]
    for candidate in _walk(raw, without=plan):
        values = (value for value in candidate.values() if not isinstance(value, Mapping))
        for value in values:
            words = value if isinstance(value, list) else [value]
            texts = [word for word in words if isinstance(word, str) and word != name]
            if any(re.search(re.escape(mark) + r"(?!\d)", text) for mark in marks for text in texts):
                return candidate
    return raw


def _kind(raw: Raw) -> str:
    """The step's name nearly as the text format has it; kinds of joins are told by `join`."""
    kind = str(raw["Node Type"])
    strategy = _text(raw, "Strategy")
    if kind == "Aggregate" and strategy in {"Hashed", "Sorted", "Mixed"}:
        kind = {"Hashed": "HashAggregate", "Sorted": "GroupAggregate", "Mixed": "MixedAggregate"}[strategy]
    elif kind in {"ModifyTable", "Foreign Scan", "Custom Scan"}:
        kind = _text(raw, "Operation") or kind
    partial = _text(raw, "Partial Mode")
    parts = ["Parallel"] if raw.get("Parallel Aware") is True else []
    parts += [partial] if partial in {"Partial", "Finalize"} else []
    return " ".join((*parts, kind))


def _walk(raw: Raw, *, without: Raw | None = None) -> Iterator[Raw]:
    waiting = [raw]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(child for child in reversed(_children(one)) if child is not without)


def _children(raw: Raw) -> Sequence[Raw]:
    return _list(raw, "Plans")


def _list(raw: Raw, key: str) -> Sequence[Raw]:
    found = raw.get(key)
    # Mostly they are dicts, which is seen at once.
    return [one for one in found if isinstance(one, (dict, Mapping))] if isinstance(found, list) else []


def _checked(raw: object) -> Raw:
    """The raw tree, if each of its steps says what it is."""
    if not isinstance(raw, Mapping):
        raise DocumentInvalid("a plan", reason="it has no Plan", mend=MEND)
    for step in _walk(raw):
        if not isinstance(step.get("Node Type"), str):
            raise DocumentInvalid("a plan", reason="a step of it has no Node Type", mend=MEND)
    return raw


def _loops(raw: Raw) -> float:
    return _number(raw, "Actual Loops") or 0.0


def _number(raw: Raw, key: str) -> float | None:
    found = raw.get(key)
    return float(found) if isinstance(found, int | float) else None


def _whole(raw: Raw, key: str) -> int | None:
    found = _number(raw, key)
    return None if found is None else round(found)


def _text(raw: Raw, key: str) -> str | None:
    found = raw.get(key)
    return found if isinstance(found, str) else None


number, text = _number, _text
