"""What explain says in all of its forms: the classic engine's, SBE's, a pipeline's stages, a cluster's shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tercet.advisor.mongo.shape import Document

# Stages in which other stages end; deeper than this is no plan.
_DEPTH_MAX = 100
_INPUTS = ("inputStage", "inputStages", "innerStage", "outerStage", "thenStage", "elseStage", "queryPlan", "shards")


@dataclass(frozen=True, slots=True)
class Told:
    """One explain("executionStats"), added up over all its parts."""

    # From what is read to what comes out: "IXSCAN status_1_created_at_1 → FETCH → GROUP".
    drawing: str
    keys: int = 0
    docs: int = 0
    returned: int = 0
    works: int = 0
    ms: float = 0.0
    # Whether documents were sorted in memory, and whether a whole collection was read.
    sorted: bool = False
    scanned: bool = False
    # A $lookup walked through the whole other collection for each document.
    scanned_joins: bool = False
    indexes: frozenset[str] = frozenset()
    # False where it was only planned: then the figures say nothing.
    ran: bool = True
    # 1 is the classic engine, 2 SBE.
    version: str = "1"

    def sentence(self) -> str:
        """Its figures in a few words."""
        return f"{self.keys:,} keys and {self.docs:,} documents read for {self.returned:,}"


def read(explain: Document) -> Told:
    """What an explain of find, aggregate, count, distinct, update or delete says."""
    parts = list(_parts(explain))
    steps = [step for part in parts for step in _plan(part)]
    stats = [one for part in parts for one in [part.get("executionStats")] if isinstance(one, Mapping)]
    later = [one for part in parts for one in _after(part)]
    drawing = [text for text, _ in steps] + [name for name, _ in later]
    joins = [one for name, one in later if name == "$lookup"]
    kinds = [one for _, stage in steps for one in [str(stage.get("stage"))]]
    names = {str(stage["indexName"]) for _, stage in steps if stage.get("indexName")}
    names |= {str(name) for one in joins for name in one.get("indexesUsed") or ()}
    # A hash join walks through it once.
    eq_scans = any(s.get("stage") == "EQ_LOOKUP" and s.get("strategy") == "NestedLoopJoin" for _, s in steps)
    return Told(
        drawing=" → ".join(dict.fromkeys(drawing)),
        keys=sum(int(one.get("totalKeysExamined", 0)) for one in (*stats, *joins)),
        docs=sum(int(one.get("totalDocsExamined", 0)) for one in (*stats, *joins)),
        returned=sum(int(one.get("nReturned", 0)) for one in stats) if not later else _number(later[-1], "nReturned"),
        works=sum(_works(one.get("executionStages")) for one in stats),
        ms=float(max((int(one.get("executionTimeMillis", 0)) for one in stats), default=0)),
        sorted="SORT" in kinds or any(name == "$sort" for name, _ in later),
        scanned="COLLSCAN" in kinds,
        scanned_joins=eq_scans or any(int(one.get("collectionScans", 0)) > 0 for one in joins),
        indexes=frozenset(names),
        ran=bool(stats),
        version=str(explain.get("explainVersion", "1")),
    )


def _parts(explain: Document) -> Iterator[Document]:
    """The explain itself, or those of its shards."""
    shards = explain.get("shards")
    if isinstance(shards, Mapping):
        for one in shards.values():
            yield from _parts(one)
        return
    winning = (explain.get("queryPlanner") or {}).get("winningPlan") or {}
    if isinstance(winning.get("shards"), list):
        stages = ((explain.get("executionStats") or {}).get("executionStages") or {}).get("shards") or []
        ran = {one.get("shardName"): one for one in stages}
        for one in winning["shards"]:
            mine = ran.get(one.get("shardName"), {})
            stats = {**mine, "totalKeysExamined": mine.get("totalKeysExamined", 0)}
            yield {"queryPlanner": one, "executionStats": stats}
        return
    cursor = next((one["$cursor"] for one in explain.get("stages") or () if "$cursor" in one), None)
    yield {**explain, **cursor} if cursor is not None else explain


def _after(part: Document) -> Iterator[tuple[str, Document]]:
    """The stages of a pipeline that no plan has taken in."""
    for one in part.get("stages") or ():
        name = next((key for key in one if key.startswith("$")), "")
        if name and name != "$cursor":
            yield name, one


def _plan(part: Document) -> Iterator[tuple[str, Document]]:
    winning = (part.get("queryPlanner") or {}).get("winningPlan")
    if isinstance(winning, Mapping):
        yield from _steps(winning.get("queryPlan") or winning, 0)


def _steps(stage: Document, depth: int) -> Iterator[tuple[str, Document]]:
    """Every stage, what is read first before what becomes of it."""
    if depth > _DEPTH_MAX:
        return
    for key in _INPUTS:
        inner = stage.get(key)
        for one in inner if isinstance(inner, list) else [inner]:
            if isinstance(one, Mapping):
                yield from _steps(one, depth + 1)
    if "stage" in stage:
        yield _drawn(stage), stage


def _drawn(stage: Document) -> str:
    name = str(stage["stage"])
    if stage.get("indexName"):
        return f"{name} {stage['indexName']}"
    return f"{name} {stage['strategy']}" if stage.get("strategy") else name


def _works(stage: Any) -> int:
    """The works of the top stage, which those below are part of; SBE tells none."""
    return int(stage.get("works", 0)) if isinstance(stage, Mapping) else 0


def _number(stage: tuple[str, Document], name: str) -> int:
    return int(stage[1].get(name, 0))
