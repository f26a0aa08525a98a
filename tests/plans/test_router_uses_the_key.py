"""What a load asks of PostgreSQL is found by the index of the key, whatever the key's type."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import BigInteger, Column, Integer, MetaData, SmallInteger, String, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import asyncpg

from tercet.router import Entity, postgres
from tercet.router.reading.postgres_rows import rows_of
from tercet.sql import Plan
from tercet.tercet import Tercet

# So many that no planner would read them all for some.
ROWS = 20_000


# Its constructor has no annotations.
DIALECT: Any = asyncpg.dialect


class Kind:
    """A type of keys, and how the test makes some."""

    def __init__(self, column: Any, python: type[Any], sql: str, keys: list[Any]) -> None:
        self.column, self.python, self.sql, self.keys = column, python, sql, keys


KINDS = {
    "bigint": Kind(BigInteger(), int, "n", [1, 2, 1 << 40]),
    # Asked for as bigints, so that a key that no integer can hold is missing and no error.
    "integer": Kind(Integer(), int, "n", [1, 2, 1 << 40]),
    "smallint": Kind(SmallInteger(), int, "n", [1, 2, 1 << 40]),
    "text": Kind(Text(), str, "'k' || n", ["k1", "k2", "nobody"]),
    "varchar": Kind(String(50), str, "'k' || n", ["k1", "k2", "nobody"]),
    "uuid": Kind(Uuid(), UUID, "md5(n::text)::uuid", [UUID(int=1), UUID("c4ca4238a0b923820dcc509a6f75849b")]),
}


@pytest.mark.parametrize("name", KINDS)
async def test_rows_are_found_by_the_index_of_their_key(postgres_url: str, name: str) -> None:
    """No sequential scan, for one key and for many; and the statement is the same for both."""
    kind = KINDS[name]
    table = Table("things", MetaData(), Column("id", kind.column, primary_key=True), Column("n", Text))

    class Thing(Entity, key=kind.python):
        n: str | None = postgres(table.c.n)

    statement = str(rows_of(Thing.__plan__.sources[0]).compile(dialect=DIALECT()))
    async with Tercet(postgres=postgres_url) as db, db.postgres.transaction() as connection:
        await connection.run_sync(table.metadata.create_all)
        await connection.exec_driver_sql(
            f"insert into things select {kind.sql}, 'v' || n from generate_series(1, {ROWS}) n"
        )
        await connection.exec_driver_sql("analyze things")
        for keys in (kind.keys[:1], kind.keys):
            found = await connection.exec_driver_sql(f"explain (format json) {statement}", (keys,))
            plan = Plan.read(_text(found.scalar_one()))
            assert {node.index for node in plan.walk() if node.index} == {"things_pkey"}, plan.text()
            assert plan.nodes("Seq Scan") == (), plan.text()
        got = (await connection.exec_driver_sql(statement, (kind.keys,))).all()
        assert {row[0] for row in got} < set(kind.keys)


def _text(plan: object) -> str:
    return plan if isinstance(plan, str) else json.dumps(plan)
