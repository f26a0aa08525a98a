"""Names resolved by PostgreSQL's rules, and what is found about blocks on the way."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from tercet.advisor import scope
from tercet.advisor.catalog import Catalog, Column, Standing, Table
from tercet.advisor.scope import Block, reference
from tercet.errors import SqlInvalid
from tercet.sql import Index
from tercet.sql.tree import parse

COLUMNS = {
    ("public", "users"): "id email status created_at active data tags",
    ("public", "orders"): "id user_id total created_at status",
    ("public", "items"): "order_id product_id quantity",
    ("shop", "users"): "id shopkeeper",
    ("public", "Odd Table"): "id Select",
}
KEYS = {("public", "users"): ("id",), ("public", "orders"): ("id",), ("public", "items"): ("order_id", "product_id")}
TYPES = {"active": "boolean", "data": "jsonb", "tags": "text[]", "email": "text"}
VIEWS = {
    (
        "public",
        "recent",
    ): "select o.id, o.user_id, o.total as amount from public.orders o where o.created_at > '2024-1-1'",
    ("public", "sums"): "select user_id, sum(total) as spent from public.orders group by user_id",
}


def catalog() -> Catalog:
    """Two schemas with a few tables and views."""
    tables = {}
    for name, columns in COLUMNS.items():
        key = KEYS.get(name, ())
        standing = [Standing(Index(f"{name[1]}_pkey", name, key, unique=True), "", 1, constraint="p")] if key else []
        listed = tuple(
            Column(column, number, TYPES.get(column, "integer"), not_null=column in key)
            for number, column in enumerate(columns.split(), 1)
        )
        tables[name] = Table(name, columns=listed, indexes=tuple(standing), primary_key=key)
    return Catalog(MappingProxyType(tables), views=MappingProxyType(VIEWS), hidden=(("public", "secret"),))


def block(sql: str, *path: str) -> Block:
    """The block of a statement."""
    return scope.resolve(parse(sql), catalog(), path)


def places(found: Block) -> list[tuple[str, str] | None]:
    """Each output as (alias, column), None for what is worked out."""
    at = [reference(one.tree) for one in found.outputs]
    return [(found.sources[one.source].alias, one.column) if one else None for one in at]


def names(found: Block) -> list[str]:
    """The outputs' names."""
    return [one.name for one in found.outputs]


def test_columns_are_found_by_alias_by_table_and_alone() -> None:
    """Each way of naming a column leads to its source."""
    found = block("select u.id, orders.total, email, public.orders.id from users u, orders")
    assert places(found) == [("u", "id"), ("orders", "total"), ("u", "email"), ("orders", "id")]


def test_search_path_says_which_table_is_meant() -> None:
    """A name without a schema is looked for along the path that is given."""
    assert names(block("select * from users", "shop", "public")) == ["id", "shopkeeper"]
    assert names(block("select * from shop.users")) == ["id", "shopkeeper"]


def test_names_that_need_quotes_are_kept_as_they_are() -> None:
    """Case and spaces belong to a name."""
    assert places(block('select "Select" from "Odd Table"')) == [("Odd Table", "Select")]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("select nothing from users", 'column "nothing" does not exist'),
        ("select id from users, orders", "ambiguous"),
        ("select u.nothing from users u", "column u.nothing does not exist"),
        ("select users.id from users u", "users.id"),
        ("select * from nowhere", 'relation "nowhere" does not exist'),
        ("select * from secret", "permission denied"),
        ("select 1 from users order by 2", "position 2 is not in select list"),
        ("select * from users u, (select u.id) s", "u.id"),
        ("select 1 union select 1, 2", "same number of columns"),
        ("create table t (a int)", "asks no rows"),
        ("select count(*) over w from users", 'window "w" does not exist'),
        ("select * from users u(a, b, c, d, e, f, g, h)", "7 columns available but 8"),
    ],
)
def test_what_postgresql_would_refuse_is_refused_in_its_words(sql: str, says: str) -> None:
    """The error names what cannot be resolved."""
    with pytest.raises(SqlInvalid, match=says):
        block(sql)


def test_star_stands_for_columns_with_those_of_using_once_and_first() -> None:
    """A join by USING or NATURAL answers its common columns once."""
    once = COLUMNS["public", "users"].split() + COLUMNS["public", "orders"].split()[1:]
    assert names(block("select * from users u join orders o using (id)")) == once
    assert names(block("select o.* from users u join orders o using (id)")) == COLUMNS["public", "orders"].split()
    natural = block("select * from orders natural join users")
    assert natural.joins[0].using == ("id", "created_at", "status")


def test_common_column_of_a_full_join_is_of_both_sides() -> None:
    """Neither side alone has it."""
    found = block("select id from users u full join orders o using (id)")
    assert found.outputs[0].tree.kind == "CoalesceExpr"
    assert {one.nullable for one in found.sources} == {True}


def test_outer_joins_say_which_side_may_be_null() -> None:
    """Sources below the side that is filled up are nullable, others not."""
    found = block("select 1 from users u left join (orders o join items i on i.order_id = o.id) on o.user_id = u.id")
    assert [one.nullable for one in found.sources] == [False, True, True]
    assert [join.kind for join in found.joins] == ["inner", "left"]


def test_ordinals_and_output_names_become_expressions() -> None:
    """GROUP BY takes a column before an output's name, ORDER BY the other way round."""
    found = block(
        "select status as email, count(*) as n from users group by 1, email order by n desc, email nulls first"
    )
    assert [one.text("column") for one in found.group] == ["status", "email"]
    assert [(one.output, one.descending, one.nulls_first) for one in found.order] == [(1, True, True), (0, False, True)]


def test_grouping_sets_are_written_out() -> None:
    """ROLLUP, CUBE and sets of sets become the sets that they stand for."""

    def sets(clause: str) -> list[list[str]]:
        found = block(f"select count(*) from users group by {clause}").grouping_sets
        return [[key.text("column") for key in one] for one in found or ()]

    assert sets("rollup (status, active)") == [["status", "active"], ["status"], []]
    assert sets("id, cube (status, active)") == [["id", "status", "active"], ["id", "status"], ["id", "active"], ["id"]]
    assert sets("grouping sets ((status, active), rollup (id), ())") == [["status", "active"], ["id"], [], []]
    assert block("select count(*) from users group by status").grouping_sets is None


def test_correlated_columns_know_how_far_out_they_are() -> None:
    """A subquery two levels in depends on both blocks around it, and they know."""
    found = block(
        "select 1 from users u where exists (select 1 from orders o where o.user_id = u.id "
        "and exists (select 1 from items i where i.order_id = o.id and i.quantity > u.id))"
    )
    middle = found.sublinks[0].block
    inner = middle.sublinks[0].block
    assert {(one.column, one.up) for one in inner.outer} == {("id", 1), ("id", 2)}
    assert {(one.column, one.up) for one in middle.outer} == {("id", 1)}
    assert not found.correlated


def test_lateral_subquery_sees_what_stands_before_it() -> None:
    """Without LATERAL it would not."""
    found = block("select * from users u cross join lateral (select o.id from orders o where o.user_id = u.id) s")
    assert found.sources[1].lateral
    assert found.sources[1].block is not None
    assert found.sources[1].block.correlated


def test_with_queries_hide_tables_and_count_their_uses() -> None:
    """PostgreSQL plans one that is used once with its user, and computes others apart."""
    found = block("with users as (select id as x from orders), b as (select 1 from users) select x from users, b")
    users, b = found.ctes
    assert (users.uses, users.inlined, b.uses, b.inlined) == (2, False, 1, True)
    assert places(found) == [("users", "x")]
    assert not block("with a as materialized (select 1) select * from a").ctes[0].inlined


def test_recursive_query_sees_its_own_columns() -> None:
    """Inside of its own text it has a name and columns, and no block."""
    found = block("with recursive t(n) as (select 1 union all select n + 1 from t where n < 9) select n from t")
    inside = found.ctes[0].block.operands[1]
    assert found.ctes[0].recursive
    assert (inside.sources[0].kind, inside.sources[0].block) == ("cte", None)


def test_view_has_the_query_that_it_stands_for() -> None:
    """A view's source has the query that it stands for."""
    found = block("select amount from recent")
    assert found.sources[0].kind == "view"
    (origin,) = scope.lineage(found)
    assert origin is not None
    assert (origin.table.name, origin.column) == (("public", "orders"), "total")


def test_functions_have_columns_by_their_alias_or_their_own() -> None:
    """What a function answers is named as PostgreSQL would name it."""
    assert names(block("select * from generate_series(1, 3) with ordinality g(i, j)")) == ["i", "j"]
    assert names(block("select * from users u, jsonb_each(u.data) e"))[-2:] == ["key", "value"]
    assert places(block("select anything from my_function(1)")) == [("my_function", "anything")]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("insert into orders (id) select u.id from users u returning total", "insert"),
        ("update orders o set total = u.id from users u where u.id = o.user_id returning o.id, u.email", "update"),
        ("delete from orders using users u where u.id = user_id", "delete"),
        ("merge into orders o using users u on u.id = o.user_id when matched then delete", "merge"),
        ("create table t as select id from users", "select"),
        ("explain analyze select id from users", "select"),
        ("values (1, 2), (3, 4)", "values"),
    ],
)
def test_other_statements_are_blocks_with_a_target(sql: str, kind: str) -> None:
    """What changes a table is resolved as what asks."""
    found = block(sql)
    assert found.kind == kind
    assert (found.target.name if found.target else None) == (
        ("public", "orders") if kind in {"insert", "update", "delete", "merge"} else None
    )


def test_aggregates_and_windows_are_found() -> None:
    """Each call once, a window's with its definition written out."""
    found = block(
        "select sum(total), count(*) filter (where id > 1), rank() over w from orders group by id, user_id "
        "window w as (partition by user_id order by sum(total))"
    )
    over = found.windows[0].tree("over")
    assert over is not None
    assert len(found.aggregates) == 2
    assert [one.text("column") for one in over.trees("partition_clause")] == ["user_id"]


def test_aggregate_belongs_to_the_block_of_its_columns() -> None:
    """In a subquery it can be one over the rows around it."""
    found = block("select (select max(u.id) from orders) from users u")
    assert (len(found.aggregates), found.sublinks[0].block.aggregates) == (1, ())
    assert reference(found.aggregates[0].trees("args")[0]) == scope.Reference(0, "id")


def test_used_columns_are_those_that_an_index_would_have_to_carry() -> None:
    """Those of subqueries further in count, in the table's own order."""
    found = block(
        "select u.email from users u where u.status = 'a' and exists (select 1 from orders o where o.user_id = u.id)"
    )
    assert scope.used(found) == {0: ("id", "email", "status")}
    assert scope.used(block("select u from users u"))[0] == tuple(COLUMNS["public", "users"].split())
    assert scope.used(block("select count(*) from users")) == {0: ()}


def test_lineage_goes_through_subqueries_and_stops_at_what_is_worked_out() -> None:
    """A nullable side is told on the way."""
    found = block(
        "select s.a, s.b, t.c from users x left join (select id as a, total + 1 as b from orders) s on s.a = x.id, "
        "(select id as c from orders union all select id from users) t"
    )
    first, *others = scope.lineage(found)
    assert first is not None
    assert (first.column, first.nullable) == ("id", True)
    assert others == [None, None]


@pytest.mark.parametrize(
    ("sql", "sources"),
    [
        ("select 1 from users u group by u.id", {0}),
        ("select 1 from users u group by u.email", set()),
        ("select 1 from orders o join users u on u.id = o.user_id group by o.id", {0, 1}),
        ("select 1 from orders o left join users u on u.id = o.user_id group by o.id", {0, 1}),
        ("select 1 from users u left join orders o on o.user_id = u.id group by u.id", {0}),
        ("select 1 from orders o left join users u on u.id = o.user_id and o.total > 1 group by o.user_id", set()),
        ("select 1 from items i where i.order_id = 1 group by i.product_id", {0}),
        ("select 1 from users u join sums s on s.user_id = u.id group by u.id", {0, 1}),
        ("select 1 from orders o, (select max(id) m from users) s group by o.user_id", {1}),
    ],
)
def test_keys_decide_about_the_sources_that_they_lead_to(sql: str, sources: set[int]) -> None:
    """Through equalities, and through an outer join only if all that it asks is decided."""
    found = block(sql)
    assert scope.determined(found, found.group) == sources


def test_conditions_are_written_for_an_index_without_their_alias() -> None:
    """What an index cannot hold is None."""
    found = block(
        """select 1 from users u (a, b), orders o where u.b = 'x''y' and lower(u.b) = $1 and u.created_at < now()
        and u.a = o.id and u.a = (select 1)"""
    )
    written = [scope.index_text(one, found) for one in found.where]
    assert written == ["email = 'x''y'", None, None, None, None]
    lowered = found.where[1].tree("lexpr")
    assert lowered is not None
    assert scope.index_text(lowered, found) == "lower(email)"
    assert scope.text(found.where[3], found) == "u.a = o.id"
    assert scope.text(found.where[4], found) == "u.a = (SELECT 1)"


def test_constant_holds_no_column_no_subquery_and_nothing_that_changes() -> None:
    """Parameters and the statement's own time are constants."""
    found = block(
        "select 1 + $1, now(), random(), id, (select 1), date '2024-1-1' + interval '1 day', count(*) from users"
    )
    assert [scope.is_constant(one.tree) for one in found.outputs] == [True, True, False, False, False, True, False]
