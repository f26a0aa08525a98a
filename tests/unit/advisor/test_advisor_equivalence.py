"""What leaves a question open, what data are made for it, and how two answers are compared."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.advisor.catalog import Catalog, Column, ForeignKey, Table
from tercet.advisor.equivalence import determined, edge_data
from tercet.advisor.equivalence.answers import Asked, compare
from tercet.advisor.equivalence.edges.data import MANNERS
from tercet.advisor.equivalence.edges.pools import pool
from tercet.sql.tree import parse


def _table(name: str, columns: str, keys: tuple[ForeignKey, ...] = ()) -> Table:
    """A table with its key `id`, from "name type" with a ! behind what is NOT NULL."""
    made = []
    for number, one in enumerate(columns.split(", "), 1):
        column, _, kind = one.partition(" ")
        made.append(Column(column, number, kind.rstrip("!"), not_null=kind.endswith("!")))
    return Table(("public", name), columns=tuple(made), primary_key=("id",), foreign_keys=keys)


USERS = _table("users", "id bigint!, name text!, email text, weight real, born timestamp with time zone!")
ORDERS = _table(
    "orders",
    "id bigint!, user_id bigint!, total numeric(10,2), placed timestamp without time zone!",
    (ForeignKey("orders_user", ("user_id",), ("public", "users"), ("id",)),),
)
CATALOG = Catalog(MappingProxyType({one.name: one for one in (USERS, ORDERS)}))

TOP = (
    "select u.id, sum(o.total) as total from users u left join orders o on o.user_id = u.id"
    " group by u.id order by {order} limit 5"
)


@pytest.mark.parametrize(
    ("query", "kind", "mend"),
    [
        (TOP.format(order="total desc"), "ties", "ORDER BY total DESC NULLS LAST, u.id"),
        (TOP.format(order="total desc, u.id"), "nulls_first", "total DESC NULLS LAST"),
        ("select name from users offset 3", "ties", "ORDER BY id"),
        ("select distinct on (name) name, id from users order by name, email", "kept", "ORDER BY name, email, id"),
        ("select id, row_number() over (order by name) from users", "places", "end it with id"),
        ("select string_agg(name, ',') from users", "unordered_aggregate", "string_agg(name, ',' ORDER BY id)"),
        ("select sum(weight) from users", "float_sum", "numeric"),
        ("select random()", "volatile", "parameter"),
        ("select id from users where born > '2024-01-01'", "time_zone", "timestamptz '2024-01-01 00:00:00+00'"),
        (
            "select id from users where born::date = '2024-01-01'",
            "time_zone",
            "ask for born >= '2024-01-01 00:00:00+00'::timestamptz AND born < '2024-01-02 00:00:00+00'::timestamptz",
        ),
        (
            "select id from users where '2024-03-01' > date_trunc('month', born)",
            "time_zone",
            "ask for born < '2024-03-01 00:00:00+00'::timestamptz, or cut born AT TIME ZONE 'UTC'",
        ),
        (
            "select id from users where extract(hour from born) = 7",
            "time_zone",
            "ask for the range of born that is meant",
        ),
        ("select date_trunc('day', born) from users", "time_zone", "born AT TIME ZONE 'UTC', with the zone"),
        ("select id from orders where placed > '2024-01-01'", "bounds", "placed >= '2024-01-01'"),
        ("select id from orders where placed <= '2024-01-31'", "bounds", "placed < date '2024-01-31' + 1"),
        (
            "select id from orders where placed between '2024-01-01' and '2024-01-31'",
            "bounds",
            "< date '2024-01-31' + 1",
        ),
    ],
)
def test_what_leaves_a_question_open_is_told_with_its_mend(query: str, kind: str, mend: str) -> None:
    """Each finding names the exact words to write."""
    found = [one for one in determined(parse(query), CATALOG) if one.kind == kind]
    assert len(found) == 1, found
    assert mend in found[0].mend


@pytest.mark.parametrize(
    "query",
    [
        TOP.format(order="total desc nulls last, u.id"),
        TOP.format(order="coalesce(sum(o.total), 0) desc, 1"),
        "select name, email from users order by name, email limit 3",
        "select o.id, u.name from orders o join users u on u.id = o.user_id order by o.id limit 3",
        "select u.id, p.total from users u left join orders p on p.id = u.id order by u.id limit 3",
        "select count(*) from users limit 1",
        "select name from users order by name fetch first 3 rows with ties",
        "select id from users where id = 4 limit 1",
        "select name from users union select email from users order by name limit 3",
        "select id, row_number() over (order by name, id) from users",
        "select id, rank() over (partition by id order by name) from users order by name, id limit 5",
        "select id from users where born >= timestamptz '2024-01-01 00:00:00+00'",
        "select id from orders where placed >= '2024-01-01' and placed < '2024-02-01'",
        "select max(name), string_agg(name, ',' order by id) from users",
    ],
)
def test_a_question_with_one_answer_is_left_alone(query: str) -> None:
    """Nothing is told where a key, a constant or an order to the end decides."""
    assert determined(parse(query), CATALOG) == ()


def test_what_is_open_inside_is_told_as_inside() -> None:
    """A LIMIT of an inner query is not the top that people see."""
    (found,) = determined(parse("select count(*) from (select id from users limit 3) as few"), CATALOG)
    assert (found.kind, found.top) == ("ties", False)


QUERY = parse(
    "select u.name, sum(o.total) from users u left join orders o on o.user_id = u.id"
    " where u.name = 'Ann' and o.total > 10 and u.born >= '2024-01-01' group by u.name"
)


def test_data_lie_around_every_constant() -> None:
    """Just below, at and just above; another case; the last moment before."""
    values: dict[str, set[str | None]] = {}
    for seed in range(len(MANNERS)):
        for rows in edge_data([QUERY], CATALOG, seed):
            for place, column in enumerate(rows.table.columns):
                values.setdefault(f"{rows.table.name[1]}.{column.name}", set()).update(row[place] for row in rows.rows)
    assert {"10.00", "9.99", "10.01", "0.00", None} <= values["orders.total"]
    assert {"Ann", "ANN", "ann", ""} <= values["users.name"]
    assert {"2024-01-01 00:00:00+00", "2023-12-31 23:59:59.999999+00"} <= values["users.born"]


@pytest.mark.parametrize("seed", range(len(MANNERS)))
def test_data_honour_what_the_catalog_knows(seed: int) -> None:
    """No NULL where none may be, no key twice, no child without its parent; and the same for the same seed."""
    users, orders = edge_data([QUERY], CATALOG, seed)
    assert (users.table.name[1], orders.table.name[1]) == ("users", "orders")
    for rows in (users, orders):
        assert len({row[0] for row in rows.rows}) == len(rows.rows)
        for place, column in enumerate(rows.table.columns):
            assert not column.not_null or all(row[place] is not None for row in rows.rows)
    assert {row[1] for row in orders.rows} <= {row[0] for row in users.rows}
    assert edge_data([QUERY], CATALOG, seed) == (users, orders)


def test_some_data_have_parents_without_children_and_some_are_empty() -> None:
    """Empty groups and empty tables are among them."""
    made = [edge_data([QUERY], CATALOG, seed) for seed in range(len(MANNERS))]
    assert any(not users.rows and not orders.rows for users, orders in made)
    assert any(len(users.rows) > 1 and not orders.rows for users, orders in made)
    assert any({row[0] for row in users.rows} > {row[1] for row in orders.rows} != set() for users, orders in made)


@pytest.mark.parametrize(
    "kind",
    ["smallint", "numeric(3,1)", "real", "text", "character varying(2)", "date", "boolean", "uuid", "jsonb",
     "integer[]", "timestamp without time zone", "interval", "bytea", "inet"],
)  # fmt: skip
def test_every_usual_type_has_values(kind: str) -> None:
    """Several, each once, with a constant that is no value of it among the words."""
    values = pool(kind, ("nonsense", "5", "2024-02-29", ""))
    assert len(values) == len(set(values)) >= 2


def test_a_type_that_nobody_knows_has_none() -> None:
    """Then such a column stays NULL, or its table empty."""
    assert pool("geometry", ("1",)) == ()


def test_without_an_order_rows_are_a_multiset() -> None:
    """Any order will do; a row more or less will not."""
    asked = Asked(("a", "b", "b"))
    assert compare(asked, ("b", "a", "b")) == "same"
    assert compare(asked, ("a", "a", "b")) == "refuted"
    assert compare(asked, ("a", "b")) == "refuted"


def test_in_an_order_only_ties_may_change_places() -> None:
    """Rows of one key may come in any order among themselves."""
    asked = Asked(("a", "b", "c"), ("1", "1", "2"))
    assert compare(asked, ("b", "a", "c")) == "same"
    assert compare(asked, ("a", "c", "b")) == "refuted"


def test_a_limit_that_cuts_ties_leaves_open_which_of_them_come() -> None:
    """Others of the tied rows are no fault; rows from elsewhere are."""
    asked = Asked(("a", "b", "c", "d"), ("1", "2", "2", "3"), 0, 2)
    assert compare(asked, ("a", "b")) == "same"
    assert compare(asked, ("a", "c")) == "undetermined"
    assert compare(asked, ("a", "d")) == "refuted"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))), st.integers(0, 5), st.integers(0, 5))
def test_its_own_answer_is_always_the_same(rows: list[tuple[int, int]], start: int, count: int) -> None:
    """Whatever OFFSET and LIMIT take of it."""
    rows.sort()
    asked = Asked(tuple(map(str, rows)), tuple(str(key) for key, _ in rows), start, start + count)
    assert compare(asked, asked.taken) == "same"
    assert compare(asked, (*asked.taken, "x")) == "refuted"
