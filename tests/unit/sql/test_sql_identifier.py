"""Names are quoted so that they mean exactly themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import SchemaInvalid
from tercet.sql import identifier, literal
from tercet.sql.identifier import NAME_BYTES_MAX, table_parts
from tercet.sql.tokens import tokens

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=15)


@given(NAMES)
def test_a_quoted_name_is_one_token_that_reads_back_as_the_name(name: str) -> None:
    """Whatever is in a name, nothing of it stands outside the quotes."""
    quoted = identifier(name)
    assert list(tokens(quoted)) == [("quoted", quoted)]
    assert quoted[1:-1].replace('""', '"') == name


def test_parts_and_tuples_are_joined_by_dots() -> None:
    """A schema and a table are quoted each by itself."""
    assert identifier("shop", "orders") == '"shop"."orders"'
    assert identifier(("shop", "orders")) == '"shop"."orders"'
    assert identifier("a.b") == '"a.b"'
    assert identifier('say "hi"') == '"say ""hi"""'


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "é" * 32, "\ud800", ()])
def test_a_name_that_postgres_would_refuse_or_cut_is_refused(name: str | tuple[str, ...]) -> None:
    """PostgreSQL cuts after 63 bytes, not characters, and says so to nobody."""
    with pytest.raises(SchemaInvalid):
        identifier(name)


def test_a_name_of_exactly_the_limit_is_taken() -> None:
    """63 bytes fit, in one-byte and in two-byte characters."""
    assert len(identifier("x" * NAME_BYTES_MAX)) == NAME_BYTES_MAX + 2
    assert identifier("é" * 31)


def test_a_dot_in_a_plain_table_name_is_answered_with_both_ways_to_write_it() -> None:
    """It may be a schema or a dot, and nothing is guessed."""
    with pytest.raises(SchemaInvalid, match=r"\('shop', 'orders'\) for a schema, or \('shop.orders',\)"):
        table_parts("shop.orders")
    assert table_parts(("shop.orders",)) == ("shop.orders",)


def test_a_table_has_at_most_a_schema_before_it() -> None:
    """PostgreSQL has no names across databases."""
    with pytest.raises(SchemaInvalid, match="one or two parts"):
        table_parts(("db", "shop", "orders"))


@pytest.mark.parametrize(
    ("text", "sql"),
    [("", "''"), ("a", "'a'"), ("o'r", "'o''r'"), ("a\\b", "E'a\\\\b'"), ("\\'", "E'\\\\'''")],
)
def test_a_literal_means_the_same_under_every_setting(text: str, sql: str) -> None:
    """Quotes are doubled, and a backslash makes it an E string."""
    assert literal(text) == sql
