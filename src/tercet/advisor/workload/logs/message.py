"""What an entry of a log says of a statement: the line of a duration, or the plan that auto_explain has put there."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec

from tercet.advisor.workload.asked import Asked

if TYPE_CHECKING:
    from tercet.advisor.workload.logs.record import Record

# "duration: 1.234 ms  execute <unnamed>: select …", or without the duration where log_statement is set.
_STATEMENT = re.compile(
    r"(?:duration: (?P<ms>\d+(?:\.\d+)?) ms  )?(?P<what>statement|execute fetch from|execute)(?(ms)| ?)[^:\n]{0,300}?: "
    r"(?P<sql>.*)",
    re.DOTALL,
)
_PLAN = re.compile(r"duration: (?P<ms>\d+(?:\.\d+)?) ms  plan:\n(?P<plan>.*)", re.DOTALL)
# Where the query ends and its plan begins, in auto_explain's text.
_STEP = re.compile(r"^[^\n]*  \((?:cost=\d|actual )", re.MULTILINE)
# A year; what is above is no figure of a server's.
_MS_MAX = 366 * 86_400_000.0
_PREPARED = "prepare: "
_PREPARES = re.compile(r"\s*prepare\b", re.IGNORECASE)


class _Explained(msgspec.Struct, rename={"text": "Query Text", "parameters": "Query Parameters"}):
    """What is wanted of auto_explain's JSON."""

    text: str
    parameters: str = ""


def asked(record: Record) -> Asked | None:
    """The statement of an entry with the values it was asked with; None if it tells of none."""
    match = _STATEMENT.match(record.message)
    if match is not None:
        ms = _ms(match["ms"])
        if record.detail.startswith(_PREPARED):
            # EXECUTE of a statement that SQL has prepared: its text stands below.
            return Asked(record.detail.removeprefix(_PREPARED), 1.0, ms)
        if _PREPARES.match(match["sql"]):
            return None  # it is not run by that
        # A portal that is fetched from again is the same run going on.
        calls = 0.0 if match["what"] == "execute fetch from" else 1.0
        return Asked(match["sql"], calls, ms, values=record.detail)
    match = _PLAN.match(record.message)
    return None if match is None else _planned(match["plan"], _ms(match["ms"]))


def _ms(text: str | None) -> float | None:
    """Milliseconds, unless that is no time that any statement can have taken."""
    ms = float(text) if text else math.inf
    return ms if ms <= _MS_MAX else None


def _planned(plan: str, ms: float | None) -> Asked | None:
    """The query of an entry of auto_explain, as text or as JSON."""
    if plan.lstrip().startswith("{"):
        try:
            explained = msgspec.json.decode(plan, type=_Explained)
        except (msgspec.MsgspecError, RecursionError):
            return None
        return Asked(explained.text, 1.0, ms, twice=True, values=explained.parameters)
    if not plan.startswith("Query Text: "):
        return None
    step = _STEP.search(plan)
    text = plan[: step.start() if step else len(plan)].removeprefix("Query Text: ").strip()
    text, _, values = text.partition("\nQuery Parameters: ")
    return Asked(text, 1.0, ms, twice=True, values=values)
