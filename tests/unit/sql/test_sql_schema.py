"""Indexes and views say the DDL they mean, and refuse what PostgreSQL would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import SchemaInvalid
from tercet.sql import Expression, Index, Key, View
from tercet.sql.tokens import fragment, tokens

RECENT = Index(
    "ix_users_recent", "users", ("created_at desc",), include=("id",), where="status = 'active' and total > 0"
)


def test_an_index_says_its_statement() -> None:
    """Names are quoted, the direction is read, the condition stands in brackets."""
    assert RECENT.create() == (
        'create index concurrently "ix_users_recent" on "users" using "btree" ("created_at" desc) '
        "include (\"id\") where (status = 'active' and total > 0)"
    )
    assert RECENT.drop(concurrently=False) == 'drop index if exists "ix_users_recent"'


def test_the_schema_of_its_table_is_the_schema_of_an_index() -> None:
    """CREATE INDEX takes no schema and DROP INDEX needs one."""
    index = Index("by_day", ("shop", "orders"), ("day",))
    assert index.create(concurrently=False) == 'create index "by_day" on "shop"."orders" using "btree" ("day")'
    assert index.drop() == 'drop index concurrently if exists "shop"."by_day"'
    assert (index.qualified, index.qualified_table) == ('"shop"."by_day"', '"shop"."orders"')
    assert index.on("copy", name="probe").create(concurrently=False) == (
        'create index "probe" on "copy" using "btree" ("day")'
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("created_at", '"created_at"'),
        ("created_at asc", '"created_at"'),
        ("  total DESC  NULLS LAST ", '"total" desc nulls last'),
        ("total nulls first", '"total" nulls first'),
        ("desc", '"desc"'),
        ("Größe desc", '"Größe" desc'),
        (Expression("lower(email)"), "(lower(email))"),
        (Key(Expression("total * 2"), descending=True), "(total * 2) desc"),
        (
            Key("odd name", operators="text_pattern_ops", collation=("pg_catalog", "C")),
            '"odd name" collate "pg_catalog"."C" "text_pattern_ops"',
        ),
    ],
)
def test_a_key_is_read_as_it_is_written(written: str | Expression | Key, said: str) -> None:
    """A plain name with an order behind it, or something explicit."""
    assert Key.read(written).sql() == said


@pytest.mark.parametrize(
    "written", ["lower(email)", "a b", "a desc last", "", "a,b", '"a"', "name text_pattern_ops", "1a"]
)
def test_what_is_no_plain_column_is_not_guessed_at(written: str) -> None:
    """The error shows the three ways to write it."""
    with pytest.raises(SchemaInvalid, match="Expression"):
        Index("i", "t", (written,))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"columns": ()}, "has no columns"),
        ({"columns": "user_id"}, r"Write columns=\('user_id',\)"),
        ({"columns": ("a",), "include": "b"}, r"Write include=\('b',\)"),
        ({"columns": ("a",), "include": ("a",)}, "carries 'a' twice"),
        ({"columns": ("a",), "include": ("b", "b")}, "carries 'b' twice"),
        ({"columns": ("a",), "method": "gin", "unique": True}, "gin index cannot be unique"),
        ({"columns": ("a desc",), "method": "gin"}, "gin index cannot be ordered"),
        ({"columns": ("a",), "method": "brin", "include": ("b",)}, "brin index cannot include columns"),
        ({"columns": ("a", "b"), "method": "hash"}, "a hash index has one column"),
        ({"columns": tuple(f"c{i}" for i in range(33))}, "more than 32 columns"),
        ({"columns": ("a",), "name": "x" * 64}, "64 bytes"),
        ({"columns": ("a",), "table": "s.t"}, "for a schema"),
    ],
)
def test_a_combination_that_cannot_be_is_refused_before_a_server_is_asked(
    arguments: dict[str, object], reason: str
) -> None:
    """Each with its mend in the sentence."""
    with pytest.raises(SchemaInvalid, match=reason):
        Index(**{"name": "i", "table": "t", **arguments})  # type: ignore[arg-type]  # wrong ones on purpose


def test_an_access_method_of_an_extension_is_left_to_the_server() -> None:
    """Nobody here knows what it can do."""
    assert Index("i", "t", ("a desc",), method="rum").create(concurrently=False).count("rum") == 1


@pytest.mark.parametrize(
    "text",
    [
        "a = 1; drop table users",
        "a = 1 -- x",
        "a /* x */ = 1",
        "(a = 1",
        "a = 1)",
        "a) or (b",
        "a = 'x",
        '"a = 1',
        "",
        "  ",
        "a[1",
    ],
)
def test_a_condition_that_would_leave_its_brackets_is_refused(text: str) -> None:
    """So what stands behind it in the statement still stands there."""
    with pytest.raises(SchemaInvalid):
        Index("i", "t", ("a",), where=text)


@pytest.mark.parametrize(
    "text",
    [
        "a = ';'",
        "note = '--'",
        "a = 'it''s'",
        "a = E'\\''",
        "a = $q$ ; ' $q$",
        '"odd;name" = 1',
        "a = array[1,2]",
        "a->>'x' = '('",
    ],
)
def test_what_stands_inside_quotes_is_nobodys_business(text: str) -> None:
    """Semicolons, comments and brackets in strings are only characters."""
    assert f"where ({text})" in Index("i", "t", ("a",), where=text).create()


@given(st.text("ab'\"()[];-/*$ \n", max_size=20))
def test_a_fragment_that_is_taken_ends_where_it_should(text: str) -> None:
    """Whatever comes, the bracket that is put behind it stands free."""
    try:
        taken = fragment(text, "A text")
    except SchemaInvalid:
        return
    found = list(tokens(f"({taken}) end"))
    assert found[0] == ("mark", "(")
    assert found[-2:] == [("mark", ")"), ("word", "end")]
    assert [token for token in found if token == ("mark", ";")] == []


def test_a_view_says_its_statements() -> None:
    """Its key becomes the unique index without which it could not be refreshed while it is read."""
    by_total = Index("by_total", "spenders", ("total desc nulls last", "user_id"))
    view = View(
        "spenders",
        " select user_id, sum(total) as total from orders group by 1 ; -- end",
        ("user_id",),
        (by_total,),
    )
    assert view.create() == (
        'create materialized view "spenders" as\nselect user_id, sum(total) as total from orders group by 1\nwith data'
    )
    assert view.all_indexes[0].create(concurrently=False) == (
        'create unique index "spenders_key" on "spenders" using "btree" ("user_id")'
    )
    assert view.all_indexes[1] is by_total
    assert view.refresh() == 'refresh materialized view concurrently "spenders"'
    assert view.refresh(concurrently=False) == 'refresh materialized view "spenders"'
    assert view.drop() == 'drop materialized view if exists "spenders"'


def test_the_name_of_a_key_fits_behind_the_longest_view() -> None:
    """It is cut at a whole character, and stays within 63 bytes."""
    view = View("é" * 31, "select 1 as a", ("a",))
    assert view.unique_index.name == "é" * 29 + "_key"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"key": ()}, "has no key"),
        ({"key": "user_id"}, r"Write key=\('user_id',\)"),
        ({"query": ""}, "it is empty"),
        ({"query": "select 1; select 2"}, "more than one statement"),
        ({"query": "delete from t"}, "begins with 'delete'"),
        ({"query": "select 'a"}, "is not closed"),
        ({"query": "-- nothing"}, "it is empty"),
        ({"indexes": (Index("i", "other", ("a",)),)}, "is on 'other'"),
        ({"indexes": (Index("v_key", "v", ("a",)),)}, "share a name"),
    ],
)
def test_a_view_that_cannot_be_is_refused(arguments: dict[str, object], reason: str) -> None:
    """Each with its mend in the sentence."""
    with pytest.raises(SchemaInvalid, match=reason):
        View(**{"name": "v", "query": "select 1 as a", "key": ("a",), **arguments})  # type: ignore[arg-type]  # wrong ones on purpose
