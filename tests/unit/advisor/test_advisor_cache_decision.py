"""An index, a view or a cache: the figures decide, and the simpler one where they are close."""

from __future__ import annotations

import pytest

from tercet.advisor.caching import Figures, decide
from tercet.advisor.caching.propose import LAYERS
from tercet.advisor.caching.python_names import camel, distinct, singular, type_of
from tercet.cache.entry import LAYERS as CACHE_LAYERS
from tercet.errors import SettingInvalid


def _figures(hits: float) -> Figures:
    return Figures(reads=10, writes=0.01, ms=900, answers=1, bytes=500, hits=hits, lifetime=60)


def test_what_costs_nothing_is_left_alone() -> None:
    """However much less something else would cost."""
    assert decide(0.001, 5.0, index_ms=0.1).place == "none"


def test_an_index_that_mends_it_is_enough() -> None:
    """A view and a cache would be old sometimes, for nothing."""
    found = decide(10, 900, index_ms=0.2, view_ms=0.2, view_core=0.1, cache=_figures(0.99))
    assert found.place == "index"
    assert "an index 0.2 ms" in found.why


def test_a_view_is_taken_where_no_index_reaches() -> None:
    """With what its refreshes cost."""
    assert decide(10, 3_200, index_ms=650, view_ms=0.5, view_core=0.004).place == "view"
    assert decide(0.01, 3_200, index_ms=650, view_ms=0.5, view_core=0.25).place == "index"


def test_a_cache_is_taken_where_most_reads_find_their_answer() -> None:
    """And not where few do."""
    assert decide(100, 50, cache=_figures(0.95)).place == "cache"
    assert decide(100, 50, cache=_figures(0.3)).place == "none"


def test_what_does_not_reach_the_wanted_time_is_not_taken_while_something_does() -> None:
    """A report once an hour may cost more, and has to be there at once."""
    assert decide(0.01, 3_200, index_ms=650, view_ms=0.5, view_core=0.25, wanted_ms=10).place == "view"


def test_below_zero_is_refused() -> None:
    """By its name."""
    with pytest.raises(SettingInvalid, match="reads"):
        decide(-1, 5)


def test_the_layers_are_those_of_the_cache() -> None:
    """The advisor lies below the cache and does not import it, so here is where they meet."""
    assert dict(LAYERS) == dict(CACHE_LAYERS)


@pytest.mark.parametrize(
    ("table", "one"),
    [("users", "user"), ("categories", "category"), ("addresses", "address"), ("news", "new"), ("access", "access")],
)
def test_one_of_many_is_named_as_a_reader_expects(table: str, one: str) -> None:
    """As a reader expects it; where it is wrong it is only a name."""
    assert singular(table) == one


def test_names_can_stand_in_a_program() -> None:
    """Words of the language, odd names and names that are taken are told apart."""
    assert [distinct("class", []), distinct("row", []), distinct("id", ["id"]), distinct("Ä b", [])] == [
        "value", "row_2", "id_2", "value",
    ]  # fmt: skip
    assert camel("orders_by_user_id") == "OrdersByUserId"
    assert (type_of("numeric(12,2)"), type_of("integer[]"), type_of("character varying(20)")) == (
        "Decimal",
        None,
        "str",
    )
