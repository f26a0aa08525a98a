"""The advice as one JSON document, in an order that does not change."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from tercet.advisor.advice import CachePolicy, Rewrite

if TYPE_CHECKING:
    from tercet.advisor.advice import Advice, Engine, Piece, Proof, StatementAdvice
    from tercet.sql import Buffers, Node, Plan

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


def to_json(advice: Advice) -> dict[str, Json]:
    """The advice as dicts and lists: `statements`, `advice`, `total`, and how it came about."""
    return {
        "statements": [_statement(one) for one in advice.statements],
        "advice": [_piece(one) for one in advice.pieces],
        "total": _total(advice),
        "source": advice.source,
        "engine": None if advice.engine is None else _engine(advice.engine),
        "notes": list(advice.notes),
    }


def to_bytes(advice: Advice) -> bytes:
    """The same as UTF-8, a few words a line."""
    return msgspec.json.format(msgspec.json.encode(to_json(advice)), indent=2)


def total_ms(advice: Advice) -> tuple[float, float] | None:
    """Milliseconds of all calls together, before and after; None where no statement has a time."""
    before = after = 0.0
    timed = False
    for one in advice.statements:
        if one.ms_before is not None:
            timed = True
            before += one.calls * one.ms_before
            after += one.calls * (one.ms_before if one.ms_after is None else one.ms_after)
    return (before, after) if timed else None


def _statement(one: StatementAdvice) -> dict[str, Json]:
    return {
        "fingerprint": one.fingerprint,
        "sql": one.sql,
        "label": one.label,
        "calls": one.calls,
        "ms_before": one.ms_before,
        "ms_after": one.ms_after,
        "proof": None if one.proof is None else _proof(one.proof),
        "plan_before": None if one.plan_before is None else _plan(one.plan_before),
        "plan_after": None if one.plan_after is None else _plan(one.plan_after),
        "sql_after": one.sql_after,
        "pieces": list(one.pieces),
        "sites": list(one.sites),
        "notes": list(one.notes),
    }


def _proof(one: Proof) -> dict[str, Json]:
    return {
        "same_rows": one.same_rows,
        "rows": one.rows,
        "method": one.method,
        "interval": None if one.interval is None else list(one.interval),
        "estimated_ms": one.estimated_ms,
        "buffers_before": one.buffers_before,
        "buffers_after": one.buffers_after,
        "sentence": one.sentence,
    }


def _piece(one: Piece) -> dict[str, Json]:
    told: dict[str, Json] = {
        "number": one.number,
        "kind": one.kind,
        "ddl": list(one.ddl),
        "undo": list(one.undo),
        "table": one.table,
        "columns": list(one.columns),
        "include": list(one.include),
        "where": one.where,
        "method": one.method,
        "size_bytes": one.size_bytes,
        "write_cost": one.write_cost,
        "refresh_seconds": one.refresh_seconds,
        "helps": list(one.helps),
        "why": one.why,
        "fragile": one.fragile,
        "rejected": [{"what": other.what, "why": other.why} for other in one.rejected],
    }
    if one.policy is not None:
        told["policy"] = {"way": one.policy.way, "every_seconds": one.policy.every, "why": one.policy.why}
    if isinstance(one.value, Rewrite):
        rewrite = one.value
        told["rewrite"] = {
            "before": rewrite.before,
            "after": rewrite.after,
            "rules": list(rewrite.rules),
            "conditions": list(rewrite.conditions),
        }
    if isinstance(one.value, CachePolicy):
        policy = one.value
        told["cache"] = {
            "layer": policy.layer,
            "key": policy.key,
            "tags": list(policy.tags),
            "lines": list(policy.lines),
        }
    return told


def _total(advice: Advice) -> dict[str, Json]:
    ms = total_ms(advice)
    return {
        "ms_before": None if ms is None else ms[0],
        "ms_after": None if ms is None else ms[1],
        "size_bytes": advice.size_bytes,
        "budget_bytes": advice.budget_bytes,
        "statements": len(advice.statements),
        "improved": sum(bool(one.pieces) for one in advice.statements),
    }


def _engine(one: Engine) -> dict[str, Json]:
    return {
        "kind": one.kind,
        "why": one.why,
        "cost_error_worst": one.cost_error_worst,
        "cost_error_mean": one.cost_error_mean,
        "same_plans": one.same_plans,
        "plans": one.plans,
        "read_bytes": one.read_bytes,
        "read_seconds": one.read_seconds,
        "tried": one.tried,
        "seconds": one.seconds,
    }


def _plan(plan: Plan) -> dict[str, Json]:
    return {"planning_ms": plan.planning_ms, "execution_ms": plan.execution_ms, "root": _node(plan.root)}


def _node(node: Node) -> dict[str, Json]:
    return {
        "type": node.type,
        "title": node.title,
        "relation": node.relation,
        "index": node.index,
        "cost": node.cost,
        "rows_planned": node.rows_planned,
        "rows": node.rows,
        "loops": node.loops,
        "ms": node.ms,
        "exclusive_ms": node.exclusive_ms,
        "buffers": None if node.buffers is None else _buffers(node.buffers),
        "conditions": [list(one) for one in node.conditions],
        "children": [_node(child) for child in node.children],
    }


def _buffers(one: Buffers) -> dict[str, Json]:
    return {"touched": one.touched, "read": one.shared_read + one.local_read, "temp": one.temp_read + one.temp_written}
