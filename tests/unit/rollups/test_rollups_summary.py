"""A summary's SQL: PostgreSQL's grammar takes every statement, whatever the names are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tercet.rollups import Summary
from tercet.sql import Statement

# What PostgreSQL takes as a name, short enough that "_emptied" still fits behind it.
NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1, max_size=12)


@given(name=NAMES, parent=NAMES, child=NAMES, key=NAMES, into=NAMES, column=NAMES)
def test_every_statement_is_postgresql_whatever_the_names(
    name: str, parent: str, child: str, key: str, into: str, column: str
) -> None:
    """Names with quotes, braces, dollars and other letters stay names."""
    summary = Summary(("s", name), parent=("s", parent), child=("s", child), child_key=key, sums={into: column})
    made = [Statement(text) for text in summary.create()]
    assert len(made) == 14
    assert all(statement.fingerprint for statement in made)
    assert all(Statement(text).fingerprint for text in summary.drop())


def test_a_summary_without_sums_counts_only() -> None:
    """The lists of sums are empty, and no comma is left over."""
    summary = Summary("totals", parent="users", child="orders", child_key="user_id")
    first = next(iter(summary.create()))
    assert first.splitlines()[1] == 'select p."id" as "user_id", count(c."user_id") as "row_count"'
    assert all(Statement(text).fingerprint for text in summary.create())


def test_its_functions_look_for_tables_in_no_schema() -> None:
    """With a search path of one's own nobody can slip a definer's function another table."""
    summary = Summary(("s", "totals"), parent=("s", "users"), child=("s", "orders"), child_key="user_id")
    functions = [text for text in summary.create() if "create function " in text]
    assert len(functions) == 6
    assert all("security definer set search_path = pg_catalog, pg_temp" in text for text in functions)
    assert all('"s"."totals"' in text for text in functions)
