"""`tercet advise --apply --measure`: statements that cannot be measured are told, and hold nothing up."""

from __future__ import annotations

import pytest

from tercet import Tercet
from tercet.advisor import Advice, Piece, StatementAdvice
from tercet.advisor.reading import read
from tercet.cli.advise_measure import Helped


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select * from gone where b = 1", 'relation "gone" does not exist'),
        ("select 1 / (id - id) from a", "division by zero"),
        ("selec", "syntax error"),
        ("", "no statement"),
        ("select \x00 from a", "a NUL character"),
        ("select " + "1+" * 45_000 + "1 from a", "nested more deeply"),
        ("select pg_terminate_backend(pg_backend_pid()) from a limit 1", "terminating connection"),
        ("select pg_sleep(0), setval('s', 7) from a", "read-only transaction"),
    ],
    ids=["gone", "fails", "broken", "empty", "nul", "deep", "ends its connection", "writes by stealth"],
)
async def test_what_cannot_be_measured_is_told(postgres_url: str, sql: str, said: str) -> None:
    """In a line of its own, beside the statements that can be."""
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("create table a (id int primary key, b int)")
            await connection.exec_driver_sql("create sequence s")
            await connection.exec_driver_sql("insert into a values (1, 1)")
        told = tuple(
            StatementAdvice(name, text, name, 1, 2.0, 1.0, (1,))
            for name, text in (("bad", sql), ("good", "select id from a where b = 1"))
        )
        piece = Piece("index", "looked up", helps=("bad", "good"), number=1)
        helped = await Helped.of(
            db.postgres, await read(db.postgres), Advice(told, (piece,), None, "x"), piece, run=True
        )
        await helped.before()
        bad, good = await helped.after()
    assert bad.startswith("bad: ")
    assert said in bad
    assert "measured" in good
