"""What candidates are made of: shares, constants, immutability, comparison; and propose over a catalogue by hand."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.advisor import Catalog, Example, Query
from tercet.advisor.candidates import doubles, extensions, propose
from tercet.advisor.candidates.kinds.trigram import letters
from tercet.advisor.candidates.propose import ALL_MAX, PER_QUERY_MAX
from tercet.advisor.candidates.roles import share
from tercet.advisor.candidates.roles.constants import constant, value
from tercet.advisor.candidates.roles.families import kind_of
from tercet.advisor.candidates.same import plain, serves
from tercet.advisor.catalog import Column, Standing, Statistics, Table
from tercet.sql import Expression, Index, Key, Statement, Tree
from tercet.sql.tree import parse


def _column(name: str, number: int, kind: str = "integer", category: str = "N", distinct: float = -0.5) -> Column:
    return Column(name, number, kind, category, statistics=Statistics(width=4, distinct=distinct))


def _table(name: str, *columns: Column, indexes: tuple[Standing, ...] = (), schema: str = "public") -> Table:
    return Table((schema, name), rows=100_000, pages=2_000, columns=columns, indexes=indexes)


ORDERS = _table(
    "orders",
    _column("id", 1, distinct=-1),
    _column("user_id", 2, distinct=5_000),
    _column("label", 3, "text", "S"),
    _column("at", 4, "timestamp with time zone", "D"),
    _column("local", 5, "timestamp without time zone", "D"),
    _column("data", 6, "jsonb", "U"),
    _column("day", 7, "date", "D"),
)


def _catalog(*tables: Table) -> Catalog:
    return Catalog(tables=MappingProxyType({table.name: table for table in tables}), version=180000)


def _query(text: str, *examples: str) -> Query:
    given_ = examples or (text,)
    return Query(Statement(text), tuple(Example(one, 1 / len(given_)) for one in given_))


def _expression(sql: str) -> Tree:
    target = parse(f"select {sql}").trees("target_list")[0].tree("val")
    assert target is not None
    return target


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("lower(label)", "text"),
        ("label || 'x'", "text"),
        ("user_id + id", "number"),
        ("date_trunc('day', local)", "timestamp"),
        ("local::date", "date"),
        ("(at at time zone 'UTC')::date", "date"),
        ("(data ->> 'k')::int", "number"),
        ("data -> 'k'", "jsonb"),
        ("extract(year from day)", "number"),
        ("coalesce(label, '')", "text"),
        ("to_tsvector('english', label)", "tsvector"),
        ("date_trunc('day', at)", None),
        ("date_trunc('day', day)", None),
        ("at::date", None),
        ("day::text", None),
        ("label::date", None),
        ("to_tsvector(label)", None),
        ("concat(label, 'x')", None),
        ("to_char(local, 'YYYY')", None),
        ("at + interval '1 day'", None),
        ("now()", None),
        ("own.lower(label)", None),
        ("random()", None),
        ("nothing", None),
    ],
)
def test_only_what_never_changes_its_mind_has_a_kind(sql: str, kind: str | None) -> None:
    """An expression that a session's settings, a table or chance could change has none."""
    assert kind_of(_expression(sql), ORDERS) == kind


@pytest.mark.parametrize(
    ("sql", "known"),
    [
        ("42", "42"),
        ("-4.5", "-4.5"),
        ("'it''s'", "it's"),
        ("true", "t"),
        ("date '1994-01-31' + interval '1 month'", "1994-02-28"),
        ("date '1998-12-01' - interval '90 day'", "1998-09-02"),
        ("timestamp '2024-01-01 10:00:00' + interval '1 year'", "2025-01-01 10:00:00"),
        ("null", None),
        ("now()", None),
        ("$1", None),
        ("date '9999-12-31' + interval '1 year'", None),
    ],
)
def test_a_constant_is_known_as_its_type_writes_it(sql: str, known: str | None) -> None:
    """Days moved by an interval too; what only the server knows is not."""
    assert value(_expression(sql)) == known
    assert constant(_expression(sql)) is (sql not in {"now()", "$1"})


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), st.integers(-1100, 1100), st.integers(-1100, 1100))
def test_a_range_has_a_share_between_none_and_all(steps: list[int], low: int, high: int) -> None:
    """And a wider one never a smaller share."""
    known = Statistics(distinct=-1, histogram=tuple(str(one) for one in sorted(steps)))
    column = Column("a", 1, "integer", "N", statistics=known)
    found = share.between(column, str(low), str(high))
    assert 0.0 <= found <= 1.0
    assert share.between(column, str(low - 1), str(high + 1)) >= found - 1e-9


def test_a_frequent_value_has_its_own_share_and_the_others_what_is_left() -> None:
    """As the statistics have counted them; without statistics PostgreSQL's own guess."""
    known = Statistics(distinct=10, null_fraction=0.1, common=("a",), common_frequencies=(0.45,))
    column = Column("s", 1, "text", "S", statistics=known)
    assert share.equal(column, ORDERS, "a") == 0.45
    assert share.equal(column, ORDERS, "b") == pytest.approx(0.05)
    assert share.equal(column, ORDERS, None) == pytest.approx(0.09)
    assert share.equal(Column("s", 1, "text"), ORDERS, "a") == share.EQUAL_UNKNOWN
    assert share.null(column) == 0.1


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("lower(email)", "lower((email)::text)"),
        ("status = 'open'", "((status)::text = 'open'::text)"),
        ("status IN ('a', 'b')", "(status = ANY (ARRAY['a'::text, 'b'::text]))"),
        ("data ->> 'k'", "(data ->> 'k'::text)"),
        ("to_tsvector('english', body)", "to_tsvector('english'::regconfig, body)"),
    ],
)
def test_a_definition_is_known_again_as_postgresql_writes_it(written: str, stored: str) -> None:
    """Casts that compute nothing make no other expression."""
    assert plain(written) == plain(stored)


def test_a_longer_index_of_the_same_order_serves_a_shorter_one() -> None:
    """The same or a longer one, also backwards; never one of other rows, order, operators or fewer columns."""
    longer = Index("a", "t", (Key("x"), Key("y", descending=True)), include=("z",))
    assert serves(longer, Index("b", "t", ("x",)))
    assert serves(longer, Index("b", "t", (Key("x", descending=True), Key("y"))))
    assert serves(longer, Index("b", "t", ("x",), include=("z", "y")))
    assert not serves(longer, Index("b", "t", ("x", "y")))
    assert not serves(longer, Index("b", "t", ("y",)))
    assert not serves(longer, Index("b", "t", ("x",), where="z > 1"))
    assert not serves(longer, Index("b", "t", ("x",), unique=True))
    assert not serves(longer, Index("b", "t", (Key("x", operators="text_pattern_ops"),)))
    assert not serves(longer, Index("b", "t", ("x",), method="hash"))
    assert serves(Index("a", "t", (Expression("lower(x::text)"),)), Index("b", "t", (Expression("lower(x)"),)))


@pytest.mark.parametrize(("pattern", "regex", "run"), [("%abc_d%", False, 3), ("a.*bcde+", True, 4), ("%_%", False, 0)])
def test_letters_in_a_row_are_counted(pattern: str, regex: bool, run: int) -> None:
    """Those that must stand in whatever the pattern finds."""
    assert letters(pattern, regex=regex) == run


def test_a_constant_that_differs_between_examples_is_none() -> None:
    """Asked with two values it is a key and no condition; asked with one only it is a condition."""
    status = Column(
        "status", 8, "text", "S",
        statistics=Statistics(distinct=3, common=("a", "b", "c"), common_frequencies=(0.1, 0.1, 0.8), width=2),
    )  # fmt: skip
    catalog = _catalog(_table("orders", *ORDERS.columns, status))
    one = "select * from orders where status = 'a' order by local limit 5"
    two = "select * from orders where status = 'b' order by local limit 5"
    assert any(found.kind == "partial" for found in propose([_query(one)], catalog))
    assert not any(found.kind == "partial" for found in propose([_query(one, one, two)], catalog))


def test_bounds_hold_and_the_answer_is_the_same_whatever_order() -> None:
    """Hundreds of statements: at most so many candidates, unique names, and the order of statements is no matter."""
    columns = tuple(_column(f"c{n}", n, distinct=1000 + n) for n in range(1, 31))
    catalog = _catalog(_table("wide", *columns), _table("wide", *columns, schema="other"))
    texts = [
        f"select c{a} from {place}wide where c{a} = $1 and c{b} = $2 and c{c} > $3 order by c{d} limit 9"
        for place in ("", "other.")
        for a, b, c, d in ((n, n % 30 + 1, (n + 7) % 30 + 1, (n + 11) % 30 + 1) for n in range(1, 31))
    ]
    found = propose([_query(text) for text in texts], catalog)
    assert len(found) <= ALL_MAX
    assert len({one.name for one in found}) == len(found)
    assert {one.index.table for one in found} == {("public", "wide"), ("other", "wide")}
    assert all(len(one.index.keys) <= 4 for one in found)
    again = propose([_query(text) for text in reversed(texts)], catalog)
    assert {one.index.create() for one in found} == {one.index.create() for one in again}
    single = propose([_query(texts[0])], catalog)
    assert 0 < len(single) <= PER_QUERY_MAX


def test_a_table_without_statistics_and_a_broken_statement_do_no_harm() -> None:
    """The first is guessed at, the second is left out."""
    bare = Table(("public", "bare"), columns=(Column("a", 1, "integer", "N"),), pages=100)
    queries = [_query("select * from bare where a = 1"), _query("select * from gone where a = 1")]
    assert [one.index.columns for one in propose(queries, _catalog(bare))] == [(Key("a"),)]


def test_what_an_index_needs_first_is_told() -> None:
    """The extension where it is not there yet, and the statement that would find two equal rows."""
    trigram = Index("x", ("public", "t"), (Key("a", operators="gin_trgm_ops"),), method="gin")
    assert extensions(trigram, Catalog()) == ('create extension if not exists "pg_trgm"',)
    assert extensions(trigram, Catalog(extensions=frozenset({"pg_trgm"}))) == ()
    assert extensions(Index("x", "t", ("a",)), Catalog()) == ()
    sql = doubles(Index("x", ("s", "T"), ("a", Expression("lower(b)")), where="c > 1", unique=True))
    assert Statement(sql).reads == ('s."T"',)
