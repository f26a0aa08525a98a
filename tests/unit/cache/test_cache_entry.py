"""Policies: layers, words for time, jitter that only takes away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cache import LAYERS, Cache
from tercet.cache.entry import Policy, policy
from tercet.errors import LayerUnknown, SettingInvalid

NOTHING = {"ttl": None, "layer": None, "memory": None, "jitter": None}


def test_the_layers_live_as_long_as_their_names_say() -> None:
    """Hot a minute, warm five, cold an hour, persistent a day."""
    assert dict(LAYERS) == {"hot": 60, "warm": 300, "cold": 3_600, "persistent": 86_400}
    assert {name: policy("x", **{**NOTHING, "layer": name}).ttl for name in LAYERS} == dict(LAYERS)  # type: ignore[arg-type]  # words of several types


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
    assert 0 <= rules.in_memory(draw) <= min(memory, ttl)


def test_what_a_decorator_leaves_out_the_cache_has_said() -> None:
    """A ttl of its own, the cache's memory and jitter."""
    cache = policy("Cache", ttl="1h", layer=None, memory="10s", jitter=0.5)
    assert policy("x", ttl="2m", layer=None, memory=None, jitter=None, default=cache) == Policy(120, 10, 0.5)
    assert policy("x", **NOTHING, default=cache) == cache


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
