"""The values of a statement's parameters, found in an example and put into a rewrite."""

from __future__ import annotations

import pytest

from tercet.advisor.verify.values import filled, parametric


def test_values_of_an_example_fill_a_rewrite() -> None:
    """A rewrite of a statement with parameters can be run by the values of an example of it."""
    text = filled(
        "select id from t where b >= $2 and a = $1",
        "select id from t where a = $1 and b >= $2",
        "select id from t where a = 'it''s $2' and b >= 7::int8",
    )
    assert text is not None
    assert "'it''s $2'" in text
    assert "b >= 7" in text


def test_a_value_that_is_not_to_be_found_is_said() -> None:
    """Another shape, or a parameter that the statement does not have."""
    assert filled("select $3", "select id from t where a = $1", "select id from t where a = 1") is None
    assert filled("select $1", "select id from t where a = $1", "select id from u where a = 1") is None


def test_a_parameter_that_stands_twice_has_one_value() -> None:
    """An example that gives it two is none of the statement."""
    template = "select id from t where a = $1 or b = $1"
    assert filled(template, template, "select id from t where a = 1 or b = 1") == (
        "SELECT id FROM t WHERE a = 1 OR b = 1"
    )
    assert filled(template, template, "select id from t where a = 1 or b = 2") is None


@pytest.mark.parametrize(
    ("sql", "is_one"), [("select $1", True), ("select '$1'", False), ("select 1", False), ("select '$1', $2", True)]
)
def test_only_a_parameter_is_one(sql: str, is_one: bool) -> None:
    """A dollar in a text is no parameter."""
    assert parametric(sql) is is_one
