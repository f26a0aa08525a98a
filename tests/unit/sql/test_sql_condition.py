"""Conditions: taken apart, and put together."""

from __future__ import annotations

import pytest

from tercet.sql.condition import all_of, conjuncts
from tercet.sql.tree import Tree, parse, write


def _where(sql: str) -> Tree | None:
    return parse(f"select 1 from t where {sql}").tree("where_clause")


@pytest.mark.parametrize(
    ("sql", "parts"),
    [("a = 1", ["a = 1"]), ("a and (b and (c or d))", ["a", "b", "c OR d"]), ("not (a and b)", ["NOT (a AND b)"])],
)
def test_a_condition_is_taken_apart_at_its_ands(sql: str, parts: list[str]) -> None:
    """Brackets of ANDs are opened, and nothing else is."""
    assert [write(one) for one in conjuncts(_where(sql))] == parts


def test_what_is_put_together_holds_where_all_of_it_does() -> None:
    """None of none, the one of one, and an AND of several."""
    parts = conjuncts(_where("a and (b or c)"))
    assert all_of(()) is None
    assert all_of(parts[:1]) == parts[0]
    assert conjuncts(all_of(parts)) == parts
    assert conjuncts(None) == ()
