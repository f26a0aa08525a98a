"""Every view that is proposed answers its statements as the tables do, on a server with every edge in its rows."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Example, Query, reading
from tercet.advisor.shadow import shadow
from tercet.advisor.views import gain, propose, why_not
from tercet.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor import Catalog
    from tercet.advisor.views import ViewCandidate

CASES = Path(__file__).parents[2] / "cases" / "advisor" / "views"


@dataclass
class Asked:
    """One statement of a case file, and what is expected of it."""

    sql: str
    values: list[Any] = field(default_factory=list)
    answered: bool = False
    direct: bool | None = None
    index: str = ""
    why: str = ""

    @property
    def arguments(self) -> list[Any]:
        """The values as the driver wants them."""
        return [datetime.fromisoformat(one) if isinstance(one, str) and one[:2] == "20" else one for one in self.values]


def _query(asked: Asked, weight: float) -> Query:
    statement = Statement(asked.sql)
    return Query(statement, (Example(asked.sql),), calls=weight, ms=10.0, label=asked.sql.strip()[:40])


async def _catalog(url: str) -> Catalog:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute((CASES / "shop.sql").read_text(encoding="utf-8"))
    finally:
        await connection.close()
    async with Tercet(postgres=url) as db:
        return await reading.read(db.postgres)


async def _build(connection: asyncpg.Connection, candidate: ViewCandidate) -> None:
    await connection.execute(candidate.view.create())
    for index in candidate.view.all_indexes:
        await connection.execute(index.create(concurrently=False))
    await connection.execute(f"analyze {candidate.view.qualified}")
    await connection.execute(candidate.view.refresh(concurrently=True))


async def _answer(connection: asyncpg.Connection, sql: str, arguments: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """The columns with their types, and the rows."""
    prepared = await connection.prepare(sql)
    columns = [f"{one.name} {one.type.name}" for one in prepared.get_attributes()]
    return columns, [tuple(row) for row in await prepared.fetch(*arguments)]


@pytest.mark.parametrize("path", sorted(CASES.glob("*.toml")), ids=lambda path: path.stem)
async def test_a_view_answers_the_same_question(path: Path, postgres_url: str) -> None:
    """The same columns, types, rows and order; what is refused is refused for the reason that the case names."""
    case = tomllib.loads(path.read_text(encoding="utf-8"))
    asked = [Asked(**one) for one in case["statement"]]
    queries = [_query(one, len(asked) - place) for place, one in enumerate(asked)]
    catalog = await _catalog(postgres_url)
    candidates = propose(queries, catalog)
    by_print = {query.fingerprint: one for query, one in zip(queries, asked, strict=True)}
    answered: dict[str, list[bool]] = {}
    connection = await asyncpg.connect(postgres_url)
    try:
        for candidate in candidates:
            await _build(connection, candidate)
            for answer in candidate.answers:
                one = by_print[answer.fingerprint]
                before = await _answer(connection, one.sql, one.arguments)
                after = await _answer(connection, answer.rewrite.after, one.arguments)
                assert after == before, answer.rewrite.after
                answered.setdefault(answer.fingerprint, []).append(answer.direct)
    finally:
        await connection.close()
    for query, one in zip(queries, asked, strict=True):
        reason = why_not(query, catalog)
        assert (query.fingerprint in answered, reason) == (one.answered, None) or not one.answered, reason
        assert one.why in (reason or ""), reason
        assert bool(one.why) != one.answered
        assert query.fingerprint not in answered or not one.why
        if one.direct is not None:
            assert one.direct in answered[query.fingerprint]
        ddl = [index.create() for candidate in candidates for index in candidate.view.indexes]
        assert any(one.index in statement for statement in ddl) or not one.index, ddl
    if "views" in case:
        common = [candidate for candidate in candidates if len(candidate.answers) == sum(one.answered for one in asked)]
        assert len(common) >= case["views"]
        assert bool(candidates) == bool(case["views"])


async def test_the_planner_tells_the_gain_before_a_view_is_built(postgres_url: str) -> None:
    """The shadow knows the view with its index, and the statement over it costs a fraction."""
    case = tomllib.loads((CASES / "reference.toml").read_text(encoding="utf-8"))
    query = _query(Asked(**case["statement"][0]), 1.0)
    catalog = await _catalog(postgres_url)
    async with Tercet(postgres=postgres_url) as db:
        candidates = propose([query], catalog)
        async with await shadow(db.postgres, catalog) as engine:
            for candidate in candidates:
                gains = await gain(candidate, engine, [query])
                assert isinstance(gains, tuple), gains
                (one,) = gains
                assert one.fingerprint == query.fingerprint
                assert one.after < one.before / 2
        async with db.postgres.transaction() as connection:
            views = await connection.exec_driver_sql("select count(*) from pg_matviews")
            assert views.scalar() == 0
