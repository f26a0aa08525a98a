"""Statements put together at random are answered by their views exactly as by the tables."""

from __future__ import annotations

from pathlib import Path
from random import Random

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Example, Query, reading
from tercet.advisor.views import propose
from tercet.sql import Statement

SHOP = Path(__file__).parents[2] / "cases" / "advisor" / "views" / "shop.sql"

FROM = (
    ("users u left join orders o on o.user_id = u.id", "uo"),
    ("users u left join orders o on o.user_id = u.id and o.status = 'completed'", "uo"),
    ("users u join orders o on o.user_id = u.id", "uo"),
    ("orders o join users u on u.id = o.buyer_id", "uo"),
    ("orders o", "o"),
    ("orders o left join products p on p.id = o.product_id", "op"),
    ("orders o join users u on o.buyer_id = u.id join products p on o.product_id = p.id", "uop"),
    ("(select * from users where credit is not null) u left join orders o on o.user_id = u.id", "uo"),
    ("(select o.* from orders o join products q on q.id = o.product_id where q.id < 5) o", "o"),
)
KEYS = {
    "u": ("u.id", "u.status", "u.country", "u.name", "lower(u.country)"),
    "o": ("o.status", "o.product_id", "o.user_id", "o.quantity", "date_trunc('month', o.day)"),
    "p": ("p.id", "p.label"),
}
SUMS = {
    "u": ("count(u.id)", "sum(u.credit)", "max(u.name)", "avg(u.credit)", "count(distinct u.country)"),
    "o": (
        "count(o.total)", "sum(o.total)", "avg(o.total)", "sum(o.quantity)", "avg(o.quantity)", "min(o.day)",
        "sum(o.pieces)", "count(distinct o.product_id)", "coalesce(sum(o.total), 0)", "count(o.user_id)",
        "sum(o.total) filter (where o.quantity > 1)", "sum(case when o.status = 'pending' then o.total end)",
        "bool_or(o.total > 0)", "sum(o.total) / nullif(count(o.total), 0)",
    ),
    "p": ("count(p.id)", "max(p.label)", "sum(p.id)"),
}  # fmt: skip
CONDITIONS = {
    "u": ("u.status = 'active'", "u.country in ('KR', 'DE')", "u.country is null", "u.id < 30", "u.id = 7"),
    "o": ("o.status = 'completed'", "o.product_id = 2", "o.total > 0", "(o.status = 'pending' or o.product_id = 3)"),
    "p": ("p.label <> 'product 3'", "p.id = 2"),
}
ORDERS = ("", " desc", " nulls first", " desc nulls last")


def _statement(dice: Random) -> str:
    """A statement whose order leaves nothing open."""
    tables, letters = dice.choice(FROM)
    keys = dice.sample([one for letter in letters for one in KEYS[letter]], k=dice.choice((0, 1, 1, 2, 3)))
    sums = dice.sample([one for letter in letters for one in SUMS[letter]], k=dice.choice((1, 2, 3)))
    conditions = dice.sample([one for letter in letters for one in CONDITIONS[letter]], k=dice.choice((0, 0, 1, 2)))
    outputs = [*keys, *sums, *dice.choice(([], ["count(*)"]))]
    order = [f"{place + 1}{dice.choice(ORDERS)}" for place in dice.sample(range(len(outputs)), k=len(outputs))]
    parts = [
        f"select {', '.join(f'{one} as c{place}' for place, one in enumerate(outputs))} from {tables}",
        f"where {' and '.join(conditions)}" if conditions else "",
        f"group by {', '.join(keys)}" if keys else "",
        dice.choice(("", "", f"having {sums[0]} is not null", "having count(*) > 5")),
        f"order by {', '.join(order)}",
        dice.choice(("", "limit 1", "limit 10")),
    ]
    return " ".join(part for part in parts if part)


def _within(statement: str, dice: Random) -> str:
    """The statement as it is, or in another: in FROM, as a CTE that is used twice, or summed up once more."""
    columns = statement.count(" as c")
    order = ", ".join(f"{place + 1}" for place in range(columns))
    return dice.choice((
        statement,
        statement,
        f"select * from ({statement}) s order by {order}",
        f"with s as ({statement}) select a.*, b.c0 as d from s a left join s b on b.c0 = a.c0 order by {order}, d",
        f"select s.c0, count(*) as d from ({statement}) s where s.c0 is not null group by s.c0 order by 1",
    ))  # fmt: skip


async def _answer(connection: asyncpg.Connection, sql: str) -> str:
    """Columns, types and rows, as they are written: 1.0 is not 1.00."""
    prepared = await connection.prepare(sql)
    columns = [f"{one.name} {one.type.name}" for one in prepared.get_attributes()]
    return f"{columns} {[tuple(row) for row in await prepared.fetch()]}"


@pytest.mark.parametrize("seed", [11, 12])
async def test_whatever_is_asked_is_asked_of_the_view_alike(seed: int, postgres_url: str) -> None:
    """In batches, so that views answer several; most of them are answered, and many of those by adding up again."""
    dice = Random(seed)
    connection = await asyncpg.connect(postgres_url)
    directly, again = 0, 0
    try:
        await connection.execute(SHOP.read_text(encoding="utf-8"))
        async with Tercet(postgres=postgres_url) as db:
            catalog = await reading.read(db.postgres)
        for _ in range(4):
            texts = [_within(_statement(dice), dice) for _ in range(7)]
            queries = {one.fingerprint: Query(one, (Example(one.text),), ms=9.0) for one in map(Statement, texts)}
            transaction = connection.transaction()
            await transaction.start()
            for candidate in propose(tuple(queries.values()), catalog):
                await connection.execute(candidate.view.create())
                for index in candidate.view.all_indexes:
                    await connection.execute(index.create(concurrently=False))
                for answer in candidate.answers:
                    before = await _answer(connection, queries[answer.fingerprint].sql)
                    assert await _answer(connection, answer.rewrite.after) == before, answer.rewrite
                    directly, again = directly + answer.direct, again + (not answer.direct)
            await transaction.rollback()
    finally:
        await connection.close()
    assert directly >= 5
    assert again >= 5
