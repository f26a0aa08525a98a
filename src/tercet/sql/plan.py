"""A query's plan as a tree that can be asked: which step took the time, which index, how far off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tercet.errors import DocumentInvalid
from tercet.sql.explain import MEND, number, read_buffers, read_node, text
from tercet.units import duration

if TYPE_CHECKING:
    from tercet.sql.node import Buffers, Node

# From here a guess of the planner is worth a word in the drawing.
_MISESTIMATE_SHOWN = 10.0


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger that the statement fired: foreign keys are checked by such."""

    name: str
    relation: str | None
    calls: int
    ms: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What EXPLAIN says of one statement; what it was not asked to measure is None."""

    root: Node
    planning_ms: float | None = None
    execution_ms: float | None = None
    jit_ms: float | None = None
    planning_buffers: Buffers | None = None
    triggers: tuple[Trigger, ...] = ()

    @classmethod
    def read(cls, explained: object) -> Plan:
        """The plan in what EXPLAIN (FORMAT JSON) returns: its text, or the lists and dicts made of it.

        Understands PostgreSQL 14 to 18, with or without ANALYZE, and auto_explain's JSON. Raises
        DocumentInvalid.
        """
        document = _document(explained)
        jit = document.get("JIT")
        timing = jit.get("Timing") if isinstance(jit, Mapping) else None
        planning = document.get("Planning")
        return cls(
            root=read_node(document.get("Plan")),
            planning_ms=number(document, "Planning Time"),
            execution_ms=number(document, "Execution Time"),
            jit_ms=number(timing, "Total") if isinstance(timing, Mapping) else None,
            planning_buffers=read_buffers(planning) if isinstance(planning, Mapping) else None,
            triggers=tuple(_triggers(document.get("Triggers"))),
        )

    @property
    def total_ms(self) -> float | None:
        """Planning and execution together; None unless it was run with ANALYZE."""
        if self.execution_ms is None:
            return None
        return self.execution_ms + (self.planning_ms or 0.0)

    @property
    def slowest(self) -> Node | None:
        """The step that has itself taken longest; None where no times were measured."""
        timed = [node for node in self.walk() if node.exclusive_ms is not None]
        return max(timed, key=lambda node: node.exclusive_ms or 0.0, default=None)

    @property
    def heap_fetches(self) -> int:
        """Rows that index-only scans had to look up in the table after all; VACUUM brings it down."""
        return sum(node.heap_fetches or 0 for node in self.walk())

    @property
    def spilled(self) -> tuple[Node, ...]:
        """The steps that did not fit into memory and went to disk."""
        return tuple(node for node in self.walk() if node.spilled)

    @property
    def indexes(self) -> tuple[str, ...]:
        """The indexes that it uses, each once."""
        return tuple(dict.fromkeys(node.index for node in self.walk() if node.index))

    def walk(self) -> Iterator[Node]:
        """Every step, each before what is below it."""
        return self.root.walk()

    def nodes(self, *types: str) -> tuple[Node, ...]:
        """The steps of these types: "Seq Scan" finds the "Parallel Seq Scan" too."""
        return tuple(
            node for node in self.walk() if any(node.type == kind or node.type.endswith(f" {kind}") for kind in types)
        )

    def text(self) -> str:
        """The plan drawn as a tree: a step a line, with its time, its own share, and its rows."""
        lines = [_head(self)]
        measured = self.root.ms is not None
        if measured:
            lines.append(f"{'in all':>8} {'itself':>8}")
        for node, branch in _drawn(self.root):
            times = f"{_ms(node.ms)} {_ms(node.exclusive_ms)}  " if measured else ""
            lines.append(f"{times}{branch}{node.title}  {_notes(node)}".rstrip())
        for trigger in self.triggers:
            times = f"{_ms(trigger.ms)} {'':8}  " if measured else ""
            lines.append(f"{times}trigger {trigger.name}  {trigger.calls} calls")
        return "\n".join(lines)


def _document(explained: object) -> Mapping[str, object]:
    """The one object in which the plan is."""
    if isinstance(explained, str | bytes):
        try:
            explained = msgspec.json.decode(explained)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise DocumentInvalid("a plan in JSON", reason=str(error).rstrip("."), mend=MEND) from error
    # A driver's row and column may still be around it.
    while isinstance(explained, list | tuple) and len(explained) == 1:
        explained = explained[0]
    if isinstance(explained, list | tuple):
        mend = "Explain one statement at a time; a rewrite rule makes several of one."
        raise DocumentInvalid("one plan", reason=f"there are {len(explained)}", mend=mend)
    if isinstance(explained, str | bytes):
        return _document(explained)
    if not isinstance(explained, Mapping):
        raise DocumentInvalid("a plan", reason=f"it is a {type(explained).__name__}", mend=MEND)
    return explained


def _triggers(found: object) -> Iterator[Trigger]:
    for raw in found if isinstance(found, list) else ():
        if isinstance(raw, Mapping):
            name = text(raw, "Trigger Name") or text(raw, "Constraint Name") or "?"
            calls = round(number(raw, "Calls") or 0)
            yield Trigger(name, text(raw, "Relation"), calls, number(raw, "Time"))


def _head(plan: Plan) -> str:
    parts = []
    for name, ms in (("execution", plan.execution_ms), ("planning", plan.planning_ms), ("JIT", plan.jit_ms)):
        if ms is not None:
            parts.append(f"{name} {duration(ms / 1000)}")
    buffers = plan.root.buffers
    if buffers is not None:
        parts.append(f"{buffers.touched} pages, {buffers.shared_read + buffers.local_read} of them read")
    return ", ".join(parts) or f"not run; cost {plan.root.cost:.2f}"


def _drawn(node: Node, lead: str = "", own: str = "") -> Iterator[tuple[Node, str]]:
    """Each step with the branches before it; `lead` goes before what is below, `own` before itself."""
    name = f"{node.subplan}: " if node.subplan else ""
    yield node, own + name
    for at, child in enumerate(node.children):
        last = at == len(node.children) - 1
        yield from _drawn(child, lead + ("   " if last else "│  "), lead + ("└─ " if last else "├─ "))


def _ms(ms: float | None) -> str:
    return f"{'' if ms is None else duration(ms / 1000):>8}"


def _notes(node: Node) -> str:
    """What is worth knowing of a step besides its time."""
    if node.never_executed:
        return "never executed"
    if node.rows_per_loop is None:
        return f"rows {node.rows_planned:g} planned, cost {node.cost:.2f}"
    loops = f" × {node.loops} loops" if (node.loops or 1) > 1 else ""
    notes = [f"rows {node.rows_per_loop:g}{loops}"]
    off = node.misestimate or 1.0
    if off >= _MISESTIMATE_SHOWN or off <= 1 / _MISESTIMATE_SHOWN:
        notes.append(f"planned {node.rows_planned:g}")
    if node.rows_removed:
        notes.append(f"{node.rows_removed:g} removed")
    if node.heap_fetches:
        notes.append(f"{node.heap_fetches} heap fetches")
    if node.spilled:
        notes.append(f"spilled {node.disk_kb} kB to disk" if node.disk_kb else "spilled to disk")
    if node.workers_planned:
        notes.append(f"{node.workers_launched} of {node.workers_planned} workers")
    return ", ".join(notes)
