"""The shadow planner beside the server that it stands for, over a schema of everything that is awkward."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Catalog
from tercet.advisor.shadow import Shadow, shadow
from tercet.sql import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import TestServers

SCHEMA = Path(__file__).with_name("shadow_schema.sql")

# Each plans over something else: an odd name, a partition, an expression, a kind of index, a statistic of its own.
STATEMENTS = (
    "select * from orders where user_id = 17",
    "select * from orders where user_id = 17 and status = 'open'",
    "select count(*) from orders where placed >= '2024-03-01' and placed < '2024-03-11'",
    "select * from orders where note @@ to_tsquery('simple', 'w17')",
    "select * from orders where tags @> array['t7']",
    "select * from orders where doc @> '{\"k\": 7}'",
    "select * from orders where span && int4range(100, 120)",
    "select * from orders where token = '17'",
    "select * from orders where total > 1000000",
    "select * from orders where id > 100000000",
    "select * from users where lower(email) = 'u17@x.org'",
    "select * from users where email like 'u17%'",
    "select u.id, sum(o.total) from users u join orders o on o.user_id = u.id where u.level = 'high' group by u.id",
    "select * from measured where day = '2024-02-03' and place = 'north'",
    "select place, avg(value) from measured where day >= '2024-02-01' group by place",
    "select * from measured m join users u on u.id = m.user_id where m.day = '2024-01-05'",
    'select "select" from "Odd ""Schema"""."The Table" where "a ""b""" = 3 order by "select" limit 5',
    "select * from parent where n = 5",
    "select * from totals where spent > 500 order by spent desc limit 10",
    "select * from open_orders where user_id = 5",
    "select twice(level_of(u)) from users u where id < 10",
    "select * from orders where city = 'c3' and zip = 'z3'",
    "select city, zip, count(*) from orders group by city, zip",
    "select * from orders where (total * 2) < 10",
    "select * from empty_table e join users u using (id)",
    "select * from never_analyzed where x = 3",
)


@dataclass
class World:
    """A database, its shadow, and the loop that both live in."""

    servers: TestServers
    db: Tercet
    shadow: Shadow
    direct: asyncpg.Connection

    def real(self, sql: str) -> Plan:
        """The plan of the server itself."""
        return Plan.read(self.servers.run(self.direct.fetchval(f"explain (format json) {sql}")))

    def shade(self, sql: str, **options: Any) -> Plan:
        """The plan of its shadow."""
        plan = self.servers.run(self.shadow.plan(sql, **options))
        assert isinstance(plan, Plan), plan
        return plan


@pytest.fixture(scope="module")
def world(servers: TestServers) -> Iterator[World]:
    """One database and one shadow for all of these tests: neither is changed by asking."""
    url, name = servers.postgres, "test_advisor_shadow"
    servers.run(servers.administer(url, f"create database {name}"))
    mine = url.rpartition("/")[0] + f"/{name}"

    async def begin() -> World:
        direct = await asyncpg.connect(mine)
        await direct.execute(SCHEMA.read_text(encoding="utf-8"))
        await direct.execute("vacuum")
        db = Tercet(postgres=mine)
        await db.open()
        return World(servers, db, await shadow(db.postgres, Catalog()), direct)

    made = servers.run(begin())
    yield made
    servers.run(made.shadow.close())
    servers.run(made.db.close())
    servers.run(made.direct.close())
    servers.run(servers.administer(url, f"drop database {name} with (force)"))


def _shape(node: Any) -> tuple[Any, ...]:
    return node.type, node.join, node.index, node.relation, tuple(map(_shape, node.children))


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_shadow_plans_as_the_server_does_at_the_same_cost(world: World, sql: str) -> None:
    """Every step, every index and the whole cost are the server's own."""
    real, mine = world.real(sql), world.shade(sql)
    assert _shape(mine.root) == _shape(real.root)
    assert mine.root.cost == pytest.approx(real.root.cost, rel=1e-9)
