"""What is wanted of EXPLAIN's JSON when only the cost is asked: decoded as far as that, and no further."""

from __future__ import annotations

import msgspec


class Step(msgspec.Struct, rename={"total": "Total Cost", "index": "Index Name", "relation": "Relation Name",
                                   "kind": "Node Type", "rows": "Plan Rows", "steps": "Plans", "join": "Join Type",
                                   "parent": "Parent Relationship"}):  # fmt: skip
    """A step of a plan with those below it."""

    total: float
    kind: str
    rows: float = 0.0
    index: str = ""
    relation: str = ""
    join: str = ""
    parent: str = ""
    steps: tuple[Step, ...] = ()


class _Explained(msgspec.Struct):
    plan: Step = msgspec.field(name="Plan")


_DECODER = msgspec.json.Decoder(tuple[_Explained, ...])


def read(text: str) -> Step:
    """The uppermost step of what EXPLAIN (FORMAT JSON) has answered."""
    return _DECODER.decode(text)[0].plan


def indexes(step: Step) -> frozenset[str]:
    """The indexes that a plan uses."""
    return frozenset(one.index for one in _walk(step) if one.index)


def relations(step: Step) -> frozenset[str]:
    """The relations that a plan reads."""
    return frozenset(one.relation for one in _walk(step) if one.relation)


def shape(step: Step) -> tuple[object, ...]:
    """What makes two plans the same: their steps, what these work on, and how they hang together."""
    return (
        step.kind,
        step.index,
        step.relation,
        step.join,
        step.parent,
        tuple(shape(below) for below in step.steps),
    )


def _walk(step: Step) -> list[Step]:
    found = [step]
    for one in found:
        found.extend(one.steps)
    return found


def written(value: object) -> str:
    """The text of what a driver has decoded already."""
    return msgspec.json.encode(value).decode()
