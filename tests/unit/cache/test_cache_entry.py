"""Policies: layers, words for time, jitter that only takes away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cache import LAYERS, Cache
from tercet.cache.entry import Layers, Policy, policy
from tercet.errors import LayerUnknown, SettingInvalid

KNOWN = Layers.of(None)


def test_the_layers_live_as_long_as_their_names_say() -> None:
    """Hot a minute, warm five, cold an hour, persistent a day."""
    assert dict(LAYERS) == {"hot": 60, "warm": 300, "cold": 3_600, "persistent": 86_400}
    assert {name: policy("x", {"layer": name}, layers=KNOWN).ttl for name in LAYERS} == dict(LAYERS)


def test_a_layer_of_one_s_own_is_a_ttl_or_a_policy() -> None:
    """It stands beside tercet's own, and a decorator's own words come after it."""
    layers = Layers.of({"board": "10s", "catalog": {"ttl": "2h", "stale": "1d", "early": 0}})
    assert policy("x", {"layer": "board"}, layers=layers) == Policy(ttl=10)
    assert policy("x", {"layer": "catalog", "stale": "1m"}, layers=layers) == Policy(ttl=7_200, stale=60, early=0)
    assert policy("x", {"layer": "hot"}, layers=layers).ttl == 60


@pytest.mark.parametrize("layer", ["soon", {"stale": "1m"}, {"ttl": "1m", "tll": "1m"}, {"ttl": "1m", "early": -1}])
def test_a_layer_that_cannot_be_meant_is_refused(layer: object) -> None:
    """Where the cache is made, not where it is used."""
    with pytest.raises(SettingInvalid):
        Cache(layers={"mine": layer})


def test_an_unknown_layer_is_an_error_where_the_decorator_stands() -> None:
    """It names the nearest one that exists; nothing was called yet."""
    cache = Cache()
    with pytest.raises(LayerUnknown) as caught:

        @cache(layer="warn")
        async def profile(user_id: int) -> int:
            return 0

    assert caught.value.near == "warm"


@given(st.floats(0.001, 1e6), st.floats(0, 1e6), st.floats(0, 0.99), st.floats(0, 1, exclude_max=True))
def test_jitter_only_ever_takes_away(ttl: float, memory: float, jitter: float, draw: float) -> None:
    """No entry lives longer than was said, and none less than its part."""
    rules = Policy(ttl=ttl, memory=memory, jitter=jitter)
    assert ttl * (1 - jitter) * 0.999999 <= rules.lifetime(draw) <= ttl
    assert rules.lifetime(draw, negative=True) <= min(ttl, rules.negative)


def test_what_a_decorator_leaves_out_the_cache_has_said() -> None:
    """A ttl of its own, the cache's memory and jitter."""
    cache = policy("Cache", {"ttl": "1h", "memory": "10s", "jitter": 0.5}, layers=KNOWN)
    assert policy("x", {"ttl": "2m", "layer": None}, layers=KNOWN, default=cache) == Policy(120, 10, 0.5)
    assert policy("x", {}, layers=KNOWN, default=cache) == cache


@pytest.mark.parametrize(
    "words",
    [
        {"ttl": 0},
        {"ttl": "soon"},
        {"ttl": -1},
        {"ttl": "1000000d"},
        {"memory": "x"},
        {"jitter": 1.0},
        {"jitter": -0.1},
        {"jitter": True},
        {"stale": "x"},
        {"negative": -1},
        {"early": "often"},
        {"soft_timeout": "x"},
        {"hard_timeout": 0},
        {"throttle": None, "thottle": 1},
        {"ttl": "1m", "layer": "hot"},
        {"namespace": ""},
        {"namespace": "a{b}"},
        {"deadline": "x"},
        {"memory_entries": -1},
        {"memory_size": "big"},
    ],
)
def test_a_word_that_cannot_be_meant_is_refused(words: dict[str, object]) -> None:
    """At once, naming the setting; namespace and deadline count where there is a Redis."""
    with pytest.raises(SettingInvalid):
        Cache("redis://127.0.0.1:1", **words)  # type: ignore[arg-type]  # they are the fault under test


@pytest.mark.parametrize("source", ["http://127.0.0.1", "nonsense", 42, object()])
def test_a_source_that_is_none_is_refused(source: object) -> None:
    """A URL of something else, or no source at all; a password in it is not repeated."""
    with pytest.raises(SettingInvalid):
        Cache(source)  # type: ignore[arg-type]  # it is the fault under test
