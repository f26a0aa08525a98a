"""Names resolved here and by the server: the same columns used, the same outputs, the same refusals."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import reading, scope
from tercet.advisor.catalog import Catalog
from tercet.advisor.scope import Block, references
from tercet.errors import SqlInvalid
from tercet.sql.tree import parse

SCHEMA = """
create table users (id int primary key, email text not null, status text, created_at timestamptz, active boolean,
                    data jsonb, tags text[], region int);
create table orders (id int primary key, user_id int references users, total numeric, created_at timestamptz,
                     status text);
create table items (order_id int, product_id int, quantity int, primary key (order_id, product_id));
create schema shop;
create table shop.users (id int, keeper text);
create table "Odd Table" ("Select" int, "a b" text);
create view busy as select u.id, count(*) as n from users u join orders o on o.user_id = u.id group by u.id;
"""

JSON_TABLE_FROM = 17
# Each is made a view, whose columns and dependences the server knows.
TAKEN = (
    "select * from users",
    "select u.*, o.total from users u, orders o where o.user_id = u.id",
    "select users.id from shop.users",
    "select s.keeper, public.users.email from shop.users s, public.users",
    'select "Select", t."a b" from "Odd Table" t',
    "select * from users join orders using (id)",
    "select * from users join orders using (id, status) as j where j.id > 1",
    "select id, status from users natural join orders",
    "select id from users full join orders using (id)",
    "select x, y from users u(x, y) where x > 1",
    "select j.a, j.b from (users cross join items) as j(a, b)",
    "select status as email, count(*) from users group by status",
    "select status as email, count(*) from users group by email, status",
    "select email as status from users order by status",
    (
        "select lower(email), email::varchar, coalesce(email, 'x'), 1, now()::date, current_date as d, "
        "u.id + 1 as plus, case when active then email end as cased, array[id] as listed from users u"
    ),
    (
        "select exists (select 1 from orders where user_id = users.id), (select max(total) from orders), "
        "array(select id from items, orders where order_id = orders.id) from users"
    ),
    (
        "select id from users u where exists (select 1 from orders o where o.user_id = u.id and exists "
        "(select from items i where i.order_id = o.id and i.quantity > u.region))"
    ),
    "select id from users where (id, region) in (select user_id, id from orders)",
    (
        "select u.id, l.total from users u left join lateral (select total from orders where user_id = u.id "
        "order by created_at limit 1) l on true"
    ),
    "select g, e.key, v from generate_series(1, 3) g, users, jsonb_each(data) e, unnest(tags) as t(v)",
    "select w.id from (values (1, 'a'), (2, 'b')) w(id, name) join users u on u.email = w.name",
    "with a as (select id, email from users), b(k) as (select id from a) select email from a join b on b.k = a.id",
    "with recursive t(n) as (select min(id) from users union all select n + 1 from t where n < 9) select n from t",
    (
        "with recursive t(n) as (select min(id) from users union all select n + 1 from t) "
        "search breadth first by n set o cycle n set c using p select n, c from t order by o"
    ),
    "with users as (select total as email from orders) select email from users",
    "select id from users union select user_id from orders order by id",
    "(select id, email from users order by created_at limit 3) union all (select id, status from orders) order by 2",
    "select id, email from users except select id, status from orders intersect select order_id, null from items",
    "select region, status, count(*) as n from users group by rollup (region, status) having count(*) > 1",
    (
        "select status, rank() over w as r, sum(region) over (partition by active order by id) as s from users "
        "window w as (partition by created_at order by email)"
    ),
    "select count(*) filter (where status = 'x') as c, string_agg(email, ',' order by id) as s from users",
    "select distinct on (region) id, email from users order by region, created_at desc",
    "select n from busy where id = 5",
    "select (select max(u.region) from orders) as m from users u",
    "select to_jsonb(u) as whole from users u",
    "select count(u) as n from users u",
    "select (select u.email) as email from users u",
    "select 1 as one from users tablesample system (10) where ctid is not null",
    "select (select email from pg_options_to_table(u.tags) limit 1) as m from users u",
    "select x.value from users, json_table(data, '$[*]' columns (value int path '$.a')) x",
    "select extract(year from created_at) as y, created_at at time zone 'UTC' as z from orders",
)

# Neither takes these.
REFUSED = (
    "select nothing from users",
    "select id from users, orders",
    "select u.id from users",
    "select users.id from users u",
    "select * from users u, (select u.id) s",
    "select 1 from users u join orders o on i.order_id = o.id, items i",
    "select id from users order by 3",
    "select id from users union select id, user_id from orders",
    "select id as x from users where x = 1",
    "select * from users join orders using (email)",
    "select j.id from (users u join orders o on true) as j",
    "with a as (select * from b), b as (select 1) select * from a",
    "select status from users u(email, status)",
    "select rank() over w from users",
    "select 1 from users u, orders u",
    "select *",
)


@pytest.fixture
async def server(postgres_url: str) -> tuple[str, Catalog]:
    """A database with the tables, and its catalogue."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(SCHEMA)
    await connection.close()
    async with Tercet(postgres=postgres_url) as db:
        return postgres_url, await reading.read(db.postgres)


def used(block: Block, around: tuple[Block, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """Every (schema, table, column) that a block and those inside of it name."""
    chain = (block, *around)
    trees = [*scope.expressions(block), *(one.test for one in block.sublinks if one.test is not None)]
    for one in (one for tree in trees for one in references(tree) if one.source >= 0):
        table = chain[one.up].sources[one.source].table
        if table is not None and one.column not in {"*", "ctid"}:
            yield (*table.name, one.column)
    for inside in block.below():
        views = [source.block for source in block.sources if source.kind == "view"]
        if not any(inside is view for view in views):  # a view's own tables are the view's affair
            yield from used(inside, chain)


# The columns of tables on which the view's query depends.
DEPENDS = """
select n.nspname::text, c.relname::text, a.attname::text
from pg_rewrite r
join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
join pg_class c on c.oid = d.refobjid and c.relkind = 'r'
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid and a.attnum > 0
where r.ev_class = 'probe'::regclass
"""


async def test_columns_and_outputs_are_those_that_the_server_finds(server: tuple[str, Catalog]) -> None:
    """Asked of a view with the same text: what it depends on, and what its columns are called."""
    url, catalog = server
    connection = await asyncpg.connect(url)
    try:
        major = connection.get_server_version().major
        for sql in TAKEN:
            if "json_table" in sql and major < JSON_TABLE_FROM:
                continue
            block = scope.resolve(parse(sql), catalog)
            names = [one.name.replace("?column?", "column") for one in block.outputs]
            shown = names if len(set(names)) == len(names) else [f"c{at}" for at in range(len(names))]
            columns = ", ".join(f'"{name}"' for name in shown)
            await connection.execute(f"create view probe ({columns}) as {sql}")
            theirs = {tuple(row) for row in await connection.fetch(DEPENDS)}
            assert set(used(block)) == theirs, sql
            await connection.execute("drop view probe")
            asked = await connection.prepare(sql)
            assert [one.name for one in block.outputs] == [one.name for one in asked.get_attributes()], sql
    finally:
        await connection.close()


async def test_what_the_server_refuses_is_refused(server: tuple[str, Catalog]) -> None:
    """Names that mean nothing, or two things."""
    url, catalog = server
    connection = await asyncpg.connect(url)
    try:
        for sql in REFUSED:
            with pytest.raises(asyncpg.PostgresError):
                await connection.prepare(sql)
            try:
                scope.resolve(parse(sql), catalog)
            except SqlInvalid:
                continue
            pytest.fail(f"taken: {sql}")
    finally:
        await connection.close()


async def test_conditions_stand_in_an_index_of_the_server(server: tuple[str, Catalog]) -> None:
    """What is written for an index is taken as its WHERE, and text of a statement as a part of it."""
    url, catalog = server
    sql = """select 1 from users u(a, b, c) where u.c = 'x' and lower(b) like 'y%' and a in (1, 2) and not active
             and (data ->> 'k' = 'v' or tags @> array['t']) and b is not null and a between 1 and 5"""
    block = scope.resolve(parse(sql), catalog)
    connection = await asyncpg.connect(url)
    try:
        for at, one in enumerate(block.where):
            written = scope.index_text(one, block)
            assert written is not None
            await connection.execute(f"create index probe_{at} on users (id) where {written}")
            await connection.prepare(f"select 1 from users u(a, b, c) where {scope.text(one, block)}")
    finally:
        await connection.close()
