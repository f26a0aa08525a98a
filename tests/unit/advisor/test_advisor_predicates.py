"""Conditions taken apart: by which key, with which values, and whether they narrow what is read."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.advisor import scope
from tercet.advisor.catalog import Catalog, Column, Table
from tercet.advisor.scope import Block, Predicate
from tercet.sql.tree import parse, write

TYPES = {"active": "boolean", "data": "jsonb", "tags": "text[]", "words": "tsvector", "name": "text"}
TABLES = {"t": "id name active data tags words at b_id", "b": "id x y", "c": "id b_id z"}
VIEWS = {
    ("public", "named"): "select name as called, id from public.t where active",
    ("public", "counted"): "select b_id, count(*) as n from public.t group by b_id",
    ("public", "top"): "select b_id, name from public.t order by at limit 10",
}


def catalog() -> Catalog:
    """Three tables and views over one of them."""
    return Catalog(
        MappingProxyType(
            {
                ("public", name): Table(
                    ("public", name),
                    columns=tuple(
                        Column(column, at, TYPES.get(column, "integer")) for at, column in enumerate(columns.split(), 1)
                    ),
                )
                for name, columns in TABLES.items()
            }
        ),
        views=MappingProxyType(VIEWS),
    )


def block(sql: str) -> Block:
    """The block of a statement."""
    return scope.resolve(parse(sql), catalog())


def of(condition: str) -> tuple[Predicate, ...]:
    """The predicates of a condition on t."""
    return scope.predicates(block(f"select 1 from t where {condition}"))


@pytest.mark.parametrize(
    ("condition", "kind", "key", "operator"),
    [
        ("id = 1", "equal", "t.id", "="),
        ("$1 = id", "equal", "t.id", "="),
        ("id = (select max(id) from b)", "equal", "t.id", "="),
        ("lower(name) = 'x'", "equal", "lower(t.name)", "="),
        ("data ->> 'k' = 'x'", "equal", "t.data ->> 'k'", "="),
        ("date_trunc('day', at) = $1", "equal", "date_trunc('day', t.at)", "="),
        ("id in (1, 2, $1)", "in", "t.id", "="),
        ("id in (1)", "equal", "t.id", "="),
        ("id = any($1)", "in", "t.id", "="),
        ("id = 1 or id = 2 or 3 = id", "in", "t.id", "="),
        ("5 > at", "range", "t.at", "<"),
        ("at between 1 and 2", "range", "t.at", "between"),
        ("at >= 1 and at < 2", "range", "t.at", "between"),
        ("name like 'x%'", "prefix", "t.name", "~~"),
        ("name like '%x'", "pattern", "t.name", "~~"),
        ("name like $1", "pattern", "t.name", "~~"),
        ("name ilike 'x%'", "pattern", "t.name", "~~*"),
        ("name ~ '^ab'", "prefix", "t.name", "~"),
        ("name ~ '^a?b'", "pattern", "t.name", "~"),
        ("name ~ '^a|b'", "pattern", "t.name", "~"),
        ("name similar to 'x%'", "pattern", "t.name", "~"),
        ("starts_with(name, 'x')", "prefix", "t.name", "^@"),
        ("name ^@ 'x'", "prefix", "t.name", "^@"),
        ("name is null", "null", "t.name", "null"),
        ("not name is null", "not_null", "t.name", "not null"),
        ("active", "boolean", "t.active", "is true"),
        ("active is not true", "boolean", "t.active", "is not true"),
        ("words @@ to_tsquery('x')", "search", "t.words", "@@"),
        ("to_tsvector('english', name) @@ $1", "search", "to_tsvector('english', t.name)", "@@"),
        ("data @> '{}'", "contains", "t.data", "@>"),
        ("'{}' <@ data", "contains", "t.data", "@>"),
        ("data ? 'k'", "contains", "t.data", "?"),
        ("tags && array['a']", "contains", "t.tags", "&&"),
        ("data @@ '$.a'", "contains", "t.data", "@@"),
        ("id <> 1", "other", "t.id", "<>"),
        ("id = b_id", "other", None, ""),
        ("id = random()", "other", None, ""),
        ("(id, at) > (1, 2)", "range", "(t.id, t.at)", ">"),
    ],
)
def test_condition_is_known_by_its_kind_key_and_operator(
    condition: str, kind: str, key: str | None, operator: str
) -> None:
    """One predicate each, whichever side its key stands at."""
    found = block(f"select 1 from t where {condition}")
    (one,) = scope.predicates(found)
    written = None if one.key is None else scope.text(one.key, found).removeprefix("ROW")
    assert (one.kind, written, one.operator) == (kind, key, operator)
    assert one.source == 0


def test_range_has_two_ends() -> None:
    """Half-open ones too, and ends on other keys stay apart."""
    first, second = of("at >= 1 and id > 5 and at < 2")
    assert first.lower is not None
    assert first.upper is not None
    assert (first.lower.inclusive, first.upper.inclusive, len(first.trees)) == (True, False, 2)
    assert (second.column, second.upper) == ("id", None)


def test_rows_that_are_equal_are_equal_in_each_column() -> None:
    """(a, b) = (1, 2) is two conditions."""
    assert [(one.kind, one.column) for one in of("(id, at) = (1, 2)")] == [("equal", "id"), ("equal", "at")]


def test_not_is_opened_as_far_as_it_goes() -> None:
    """NOT (a OR b) is two conditions; NOT before a column turns it round."""
    found = of("not (active or name is not null or not id = 1)")
    assert [(one.kind, one.negated) for one in found] == [("boolean", True), ("null", False), ("equal", False)]


def test_join_is_told_from_both_sides() -> None:
    """Each side is the key once, and the other its value."""
    found = scope.predicates(block("select 1 from t, b, c where t.b_id = b.id and b.x = c.z + t.id"))
    assert [(one.source, one.column, one.other_source, one.other_column) for one in found] == [
        (0, "b_id", 1, "id"),
        (1, "id", 0, "b_id"),
        (1, "x", None, None),
    ]
    assert {one.kind for one in found} == {"join"}


def test_correlated_equality_is_a_join_with_the_block_around() -> None:
    """The column further out is its other side."""
    outer = block("select 1 from b where exists (select 1 from t where t.b_id = b.id and t.at > b.x)")
    (query,) = scope.predicates(outer)
    assert (query.kind, query.sublink, query.negated) == ("query", 0, False)
    join, bound = scope.predicates(outer.sublinks[0].block)
    assert (join.kind, join.column, join.correlated, join.other_column) == ("join", "b_id", True, "id")
    assert (bound.kind, bound.column, bound.correlated) == ("range", "at", True)


def test_subquery_behind_in_and_not_exists_is_named() -> None:
    """With what stands before it, and whether it is denied."""
    first, second = of("id in (select id from b) and not exists (select 1 from c where c.id = t.id)")
    assert (first.kind, first.column, first.sublink) == ("query", "id", 0)
    assert (second.kind, second.negated, second.sublink) == ("query", True, 1)


def test_or_keeps_alternatives_and_what_they_share_stands_beside() -> None:
    """PostgreSQL takes the common part out, too."""
    shared, either = of("(id = 1 and name = 'a') or (at > 5 and id = 1 and active)")
    assert (shared.kind, shared.column) == ("equal", "id")
    assert [[one.column for one in side] for side in either.alternatives] == [["name"], ["at", "active"]]
    (absorbed,) = of("id = 1 or (id = 1 and at > 2)")
    assert absorbed.column == "id"


def test_outer_join_narrows_only_the_side_that_may_be_missing() -> None:
    """And what it asks need not hold of the answer."""
    found = scope.predicates(
        block("select 1 from t left join b on b.id = t.b_id and b.x = 1 and t.at = 2 where b.y is null")
    )
    assert [(one.column, one.narrows, one.always) for one in found] == [
        ("y", True, True),
        ("id", True, False),
        ("b_id", False, False),
        ("x", True, False),
        ("at", False, False),
    ]
    inside = scope.predicates(block("select 1 from t left join (b join c on c.b_id = b.id) on b.id = t.b_id"))
    assert [one.always for one in inside] == [False] * 4


def test_having_narrows_no_rows() -> None:
    """It is asked of groups."""
    (one,) = scope.predicates(block("select 1 from t group by id having id = 1"))
    assert (one.place, one.narrows) == ("having", False)


def asked(sql: str) -> list[list[tuple[str, str | None]]]:
    """Per block what is asked, pushed down."""
    return [[(one.kind, one.column) for one in told] for _, told in scope.asked(block(sql))]


def test_conditions_reach_into_views_as_far_as_they_may() -> None:
    """Through a selection all of them, through groups those on keys, not beyond LIMIT."""
    assert asked("select 1 from named where called = 'x'")[1] == [("boolean", "active"), ("equal", "name")]
    assert asked("select 1 from counted where b_id = 1 and n > 5")[1] == [("equal", "b_id")]
    assert asked("select 1 from top where b_id = 1")[1] == []
    assert asked("select 1 from named n join b on b.id = n.id")[1] == [("boolean", "active"), ("join", "id")]
    assert asked("select 1 from counted n join b on b.id = n.b_id")[1] == []


def test_conditions_reach_into_each_side_of_a_union() -> None:
    """The set operation itself reads nothing."""
    told = asked("select 1 from (select id, x from b union all select z, id from c) s where x = 1 and id > 2")
    assert told[1:] == [[], [("equal", "x"), ("range", "id")], [("equal", "id"), ("range", "z")]]


def test_conditions_reach_into_a_with_query_that_is_used_once() -> None:
    """One that is used twice is computed apart; one that is not used, not at all."""
    once = "with w as (select * from b) select 1 from w where x = 1"
    twice = "with w as (select * from b), nobody as (select * from c) select 1 from w, w w2 where w.x = 1"
    assert asked(once)[1] == [("equal", "x")]
    assert asked(twice) == [[("equal", "x")], []]


@given(st.recursive(
    st.sampled_from(["id = 1", "at < 2", "name is null", "active", "id = b_id", "name like 'x%'", "id in (1, 2)"]),
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner).map(lambda x: f"({x[1]} {x[0]} {x[2]})")
    | inner.map(lambda x: f"(not {x})"),
    max_leaves=8,
))  # fmt: skip
def test_any_condition_is_taken_apart_into_what_can_be_written_again(condition: str) -> None:
    """All its sources are t, and each conjunct is SQL of its own."""
    found = block(f"select 1 from t where {condition}")
    for one in scope.predicates(found):
        assert one.sources == {0}
        for tree in one.trees:
            assert write(parse(f"select 1 from t where {scope.text(tree, found)}"))
