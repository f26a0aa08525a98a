"""How far a shadow's plans and costs are from production's own, without any change."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.advisor.port import Refused
from tercet.advisor.shadow import explained
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.advisor.query import Query
    from tercet.sql.port import Connection, Database

# More statements say nothing that these do not, and each is planned on production once.
STATEMENTS_MAX = 100
# What all of them together may take there, and one alone.
_ALL_SECONDS = 10.0
_STATEMENT_SECONDS = 2.0
_LOCK_MS = "500"

_PARAMETER = re.compile(r"\$([1-9]\d*)")


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
    for query in queries[:STATEMENTS_MAX]:
        if time.monotonic() - began > _ALL_SECONDS:
            break
        # Even to plan a write takes a lock that others can see.
        if not query.reading:
            continue
        sql = query.examples[0].sql if query.examples else query.sql
        real = await _production(database, sql, query.search_path)
        mine = await explain(sql, query.search_path) if real is not None else None
        if real is None or mine is None or isinstance(mine, Refused):
            continue
        there, here = explained.read(real), explained.read(mine)
        same = explained.shape(there) == explained.shape(here)
        found = replace(found, plans=found.plans + 1, same=found.same + same, read_bytes=found.read_bytes + len(real))
        errors.append(abs(here.total - there.total) / max(there.total, 1e-9))
    return replace(
        found,
        mean=sum(errors) / len(errors) if errors else None,
        worst=max(errors, default=None),
        seconds=time.monotonic() - began,
    )


async def _production(database: Database, sql: str, search_path: Sequence[str]) -> str | None:
    """Production's own EXPLAIN; None where it does not give one, for whatever reason."""
    try:
        async with database.transaction(within=_STATEMENT_SECONDS) as connection:
            await connection.exec_driver_sql("set transaction read only")
            await connection.exec_driver_sql("select set_config('lock_timeout', $1, true)", (_LOCK_MS,))
            if search_path:
                path = ", ".join(identifier(schema) for schema in search_path)
                await connection.exec_driver_sql(f"set local search_path = {path}")
            if _PARAMETER.search(sql):
                return await _generic(connection, sql)
            return await _text(connection, sql)
    except Exception:  # noqa: BLE001 - a statement that cannot be planned there is nothing to compare with
        return None


async def _generic(connection: Connection, sql: str) -> str:
    # Prepared and taken back within the transaction; no name of a user's is like it.
    await connection.exec_driver_sql("set local plan_cache_mode = force_generic_plan")
    await connection.exec_driver_sql(f"prepare tercet_deviation as {sql}")
    try:
        count = (await connection.exec_driver_sql(_COUNT)).all()[0][0]
        nothing = ", ".join(["null"] * count)
        return await _text(connection, f"execute tercet_deviation({nothing})" if count else sql)
    finally:
        await connection.exec_driver_sql("deallocate tercet_deviation")


async def _text(connection: Connection, sql: str) -> str:
    value = (await connection.exec_driver_sql(f"explain (format json) {sql}")).all()[0][0]
    return value if isinstance(value, str) else explained.written(value)


_COUNT = "select cardinality(parameter_types) from pg_prepared_statements where name = 'tercet_deviation'"
