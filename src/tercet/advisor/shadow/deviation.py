"""How far a shadow's plans and costs are from production's own, without any change."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.advisor.port import Refused
from tercet.advisor.shadow import explained
from tercet.advisor.together import Question, about, together
from tercet.advisor.workload.literals import parameters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.advisor.query import Query
    from tercet.sql.port import Database

# More statements say nothing that these do not, and each is planned on production once.
STATEMENTS_MAX = 100
# What those that are asked together may take there.
_SECONDS = 2.0
# No name of a user's is like it; it is taken back at once.
_NAME = "tercet_deviation"


@dataclass(frozen=True, slots=True)
class Deviation:
    """Over how many statements plans were compared, how many were the same, and how far costs were off."""

    plans: int = 0
    same: int = 0
    mean: float | None = None
    worst: float | None = None
    read_bytes: int = 0
    seconds: float = 0.0


async def deviation(
    database: Database, queries: Sequence[Query], explain: Callable[[str, tuple[str, ...]], Awaitable[str | Refused]]
) -> Deviation:
    """Plan each query's first example on production, only reading and under limits, and compare."""
    began = time.monotonic()
    errors: list[float] = []
    found = Deviation()
    # Even to plan a write takes a lock that others can see.
    asked = [query for query in queries if query.reading][:STATEMENTS_MAX]
    texts = [(query.examples[0].sql if query.examples else query.sql, query.search_path) for query in asked]
    real = await _production(database, texts)
    for (sql, path), told in zip(texts, real, strict=True):
        mine = await explain(sql, path) if told is not None else None
        if told is None or mine is None or isinstance(mine, Refused):
            continue
        there, here = explained.read(told), explained.read(mine)
        same = explained.shape(there) == explained.shape(here)
        found = replace(found, plans=found.plans + 1, same=found.same + same, read_bytes=found.read_bytes + len(told))
        errors.append(abs(here.total - there.total) / max(there.total, 1e-9))
    return replace(
        found,
        mean=sum(errors) / len(errors) if errors else None,
        worst=max(errors, default=None),
        seconds=time.monotonic() - began,
    )


async def _production(database: Database, asked: Sequence[tuple[str, tuple[str, ...]]]) -> list[str | None]:
    """Production's own EXPLAIN of each, with the schemas it is read with; None where it gives none, whyever."""
    found: list[str | None] = [None] * len(asked)
    for path in dict.fromkeys(path for _, path in asked):
        sent = {at: one for at, (sql, its) in enumerate(asked) if its == path and (one := _question(sql)) is not None}
        try:
            told = await together(database, list(sent.values()), within=_SECONDS, search_path=path)
        except Exception:  # noqa: BLE001 - what cannot be planned there is nothing to compare with
            return found
        for at, plan in zip(sent, told, strict=True):
            found[at] = plan
    return found


def _question(sql: str) -> Question | None:
    numbers = parameters(sql)
    if not numbers:
        return Question(None, f"explain (format json) {sql}")
    nothing = ", ".join(["null"] * numbers[-1])
    return about(_NAME, sql, f"explain (format json) execute {_NAME}({nothing})")
