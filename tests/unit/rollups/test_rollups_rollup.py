"""A rollup's SQL and what is refused of it: PostgreSQL's grammar takes every statement, whatever the names are."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import SchemaInvalid
from tercet.rollups import Measure, Parent, Rollup
from tercet.rollups.kept.statements import EVENTS, Statements, definition, drops, kept_table, probes
from tercet.sql import Expression, Statement, identifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.rollups.kept.rollup import Way

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: not name.startswith("tercet_")
)
COUNT = {"n": Measure("count")}


def _statements(rollup: Rollup, major: int = 18) -> list[str]:
    types = {**dict.fromkeys(rollup.keys, "text"), **dict.fromkeys(rollup.stored.values(), "bigint")}
    known = Statements(rollup, types, major)
    made = [
        *probes(rollup),
        kept_table(rollup),
        *known.kept(),
        *known.functions(),
        *known.triggers(identifier(rollup.table)),
    ]
    return [*made, known.view(), *drops(rollup.name)]


@given(names=st.lists(NAMES, min_size=6, max_size=6, unique=True), way=st.sampled_from(["triggers", "delta"]))
def test_every_statement_is_postgresql_whatever_the_names(names: list[str], way: Way) -> None:
    """Names with quotes, braces, dollars and other letters stay names, on old servers and new ones."""
    name, table, key, other, first, second = names
    measures = {first: Measure("sum", other), second: Measure("avg", Expression(f"{identifier(table)} + 1"))}
    parent = Parent(("s", other), key, columns={other: key}, where=f"{identifier(key)} is not null")
    rollup = Rollup(("s", name), ("s", table), (key,), measures, where="x > 1", parent=parent, way=way)
    for major in (14, 15):
        assert all(Statement(text).fingerprint for text in _statements(rollup, major))


def test_its_functions_search_no_schema_and_are_quoted_by_a_word_that_is_not_in_them() -> None:
    """Neither a table of somebody's own nor a text in a condition gets into them."""
    rollup = Rollup(("s", "r"), ("s", "t"), ("k",), COUNT, where="x <> '$body$ $tercet$ $$'", way="delta")
    functions = [
        text for text in _statements(rollup) if text.startswith("create or replace function") or "returns" in text
    ]
    assert len(functions) == len(EVENTS) + 4
    for text in functions:
        assert "set search_path = pg_catalog, pg_temp" in text
        tag = text[text.index("$tercet_") :].split()[0]
        assert text.count(tag) == 2


def test_what_is_stored_goes_by_the_names_of_what_shows_it() -> None:
    """So that an index of the view's column is one of the stored one; what is only needed is stored beside it."""
    measures = {
        "n": Measure("count"),
        "total": Measure("sum", "x"),
        "mean": Measure("avg", "x"),
        "top": Measure("max", "y"),
    }
    rollup = Rollup("r", "t", ("k",), measures)
    assert dict(rollup.stored) == {
        ("rows", ""): "n",
        ("sum", '"x"'): "total",
        ("max", '"y"'): "top",
        ("count", '"x"'): "tercet_count_1",
    }
    assert rollup.stored == Rollup("r", "t", ("k",), measures).stored
    assert definition(rollup) == definition(Rollup("r", "t", {"k": "k"}, dict(measures)))
    assert definition(rollup) != definition(Rollup("r", "t", ("k",), measures, where="x > 1"))


def test_long_names_are_cut_and_stay_apart() -> None:
    """Two rollups whose names only differ at their ends have tables of their own."""
    one, other = (Rollup("x" * 62 + end, "t", ("k",), COUNT) for end in "ab")
    assert one.place != other.place
    assert all(len(identifier(made.beside("kept_lookup")).encode()) <= 65 for made in (one, other))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Rollup("r", "t", "k", COUNT), "by is a single text"),
        (lambda: Rollup("r", "t", (), COUNT), "it has no key"),
        (lambda: Rollup("r", "t", ("k",), {}), "measures nothing"),
        (lambda: Rollup("r", "t", ("k",), {"k": Measure("count")}), "share a name"),
        (lambda: Rollup("r", "t", ("tercet_k",), COUNT), "begins with tercet_"),
        (lambda: Rollup("r", "t", ("k",), {"s": Measure("sum")}), "a sum of nothing"),
        (lambda: Rollup("r", "t", ("k",), COUNT, way=cast("Way", "often")), "kept by 'often'"),
        (lambda: Rollup("r", "t", ("k",), {"m": Measure("max", "x")}, way="delta"), "adding up a log"),
        (lambda: Rollup("r", "t", ("k",), COUNT, where="a; drop table t"), "The condition"),
    ],
)
def test_what_cannot_be_a_rollup_is_refused_where_it_is_written(make: Callable[[], object], why: str) -> None:
    """Before any server is asked, with the mend."""
    with pytest.raises(SchemaInvalid, match=why) as refused:
        make()
    assert refused.value.mend
