"""A login that may see little: what it cannot know is said, and not made up."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import advise

SCHEMA = """
create role sees_little login;
create table secret (a int, b text);
create table seen (a int, b int);
create table guarded (a int, o text);
insert into secret select g, g::text from generate_series(1, 5000) g;
insert into seen select g, g % 50 from generate_series(1, 20000) g;
insert into guarded select g, 'u' || g % 10 from generate_series(1, 20000) g;
alter table guarded enable row level security;
create policy mine on guarded using (o = current_user);
grant select on seen, guarded to sees_little;
analyze secret, seen, guarded;
"""


@pytest.fixture
async def url(postgres_url: str) -> AsyncIterator[str]:
    """The address of a login with few rights."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(SCHEMA)
    yield postgres_url.replace("postgres@", "sees_little@")
    await connection.execute("drop owned by sees_little; drop role sees_little")
    await connection.close()


async def test_what_a_login_may_not_see_is_said(url: str) -> None:
    """A table without the right to it, also beside one that may be read; statistics behind row security."""
    async with Tercet(postgres=url) as db:
        advice = await advise(
            db,
            [
                "select * from seen where a = 7",
                "select s.a from seen s join secret t on t.a = s.b where t.b = 'x'",
                "select * from guarded where a = 9",
            ],
            thorough=False,
            verify="off",
        )
    said = {one.sql: " ".join(one.notes) for one in advice.statements}
    joined = next(notes for sql, notes in said.items() if "secret" in sql)
    assert "this login may not read secret" in joined
    assert [piece.table for piece in advice.pieces if piece.kind == "index"].count("public.seen") == 1
    assert any("public.guarded has row security, which hides its statistics" in note for note in advice.notes)
    assert not any("public.seen has row security" in note for note in advice.notes)
