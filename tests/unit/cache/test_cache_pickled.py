"""Pickle, for who asks for it: nothing is unpickled that was not signed for this key and kind."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cache import Cache, Pickled
from tercet.cache.encoding.codec import PLAIN, Codec, Undecodable
from tercet.errors import SettingInvalid, Uncacheable

SECRET = bytes(range(32))
OTHER = bytes(range(1, 33))


class Model:
    """What only pickle can keep."""

    def __init__(self, weights: list[complex]) -> None:
        self.weights = weights

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.weights == other.weights

    __hash__ = None  # type: ignore[assignment]  # it can change


class Trap:
    """Unpickled, it would leave a trace."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.place,)


def codec(secret: bytes | str = SECRET, kind: type = object) -> Codec[Any]:
    """A codec of signed pickles."""
    return Codec(Pickled(secret, kind=kind), of="x")


@given(
    st.recursive(
        st.none() | st.complex_numbers(allow_nan=False) | st.text() | st.integers() | st.builds(Model, st.just([1j])),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers() | st.text(), inner, max_size=3),
        max_leaves=6,
    )
)
def test_a_value_comes_back_as_it_went_in(value: object) -> None:
    """Whatever pickle can keep."""
    body = codec().encode(value, of="f()", key="k")
    assert codec().decode(body, key="k") == value
    assert codec().copy(body) == value


@given(st.data())
def test_a_body_with_one_bit_changed_is_a_miss(data: st.DataObject) -> None:
    """Anywhere in it; and cut anywhere, or with more behind it."""
    body = codec().encode({"a": 1}, of="f()", key="k")
    place = data.draw(st.integers(0, len(body) - 1))
    changed = bytearray(body)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    for forged in (bytes(changed), body[:place], body + b"\x00"):
        with pytest.raises(Undecodable):
            codec().decode(forged, key="k")


def test_nothing_is_unpickled_that_was_signed_by_nobody(tmp_path: Path) -> None:
    """Code that was put there by somebody without the secret does not run."""
    trap = tmp_path / "ran"
    honest = codec().encode(1, of="f()", key="k")
    inside = pickle.dumps(Trap(str(trap)))
    for forged in (inside, honest[:32] + inside, bytes(32) + inside, codec(OTHER).encode(1, of="f()")[:32] + inside):
        with pytest.raises(Undecodable):
            codec().decode(forged)
    assert not trap.exists()
    # The trap is one: under a signature it does run.
    codec().decode(codec().encode(Trap(str(trap)), of="f()"))
    assert trap.exists()


def test_a_body_is_good_for_one_key_one_kind_and_one_secret() -> None:
    """Moved elsewhere, or signed by another, it is a miss."""
    body = codec(kind=Model).encode(Model([1j]), of="f()", key="mine")
    assert codec(kind=Model).decode(body, key="mine") == Model([1j])
    for reader, key in (
        (codec(kind=Model), "yours"),
        (codec(kind=Model), ""),
        (codec(), "mine"),
        (codec(OTHER, Model), "mine"),
    ):
        with pytest.raises(Undecodable):
            reader.decode(body, key=key)


def test_a_text_and_its_bytes_are_one_secret() -> None:
    """However it was given."""
    body = codec("é" * 16).encode(1, of="f()", key="k")
    assert codec(("é" * 16).encode()).decode(body, key="k") == 1


def test_another_kind_is_refused_when_it_is_kept() -> None:
    """And what pickle cannot keep."""
    with pytest.raises(Uncacheable, match="Model"):
        codec(kind=Model).encode(1, of="f()")
    with pytest.raises(Uncacheable):
        codec().encode(lambda: 1, of="f()")


def test_a_kind_of_other_fields_is_another_schema() -> None:
    """A deploy with another shape is a miss, as far as the shape is written down."""

    def kind_with(**fields: object) -> type:
        return type("Kind", (), {"__annotations__": fields, "__module__": "shop"})

    schemas = {
        codec(kind=kind).schema
        for kind in (kind_with(), kind_with(a=int), kind_with(a=str), kind_with(b=int), kind_with(a="int"), Model)
    }
    assert len(schemas) == 6
    assert codec(kind=kind_with(a=int)).schema == codec(kind=kind_with(a=int)).schema


def test_it_reads_neither_plain_data_nor_is_it_read_as_such() -> None:
    """Only what was pickled under this kind is tried."""
    plain: Codec[Any] = Codec(Any, of="x")
    assert not codec().reads(PLAIN)
    assert codec().reads(codec().schema)
    assert not plain.reads(codec().schema)
    assert not codec(OTHER).reads(codec().schema)
    assert not codec().immutable


@pytest.mark.parametrize("secret", ["", b"", "short", b"x" * 31, "x" * 31, None, 5])
def test_a_secret_that_is_too_short_is_refused_and_not_repeated(secret: Any) -> None:
    """The sentence says how to make one."""
    with pytest.raises(SettingInvalid, match="token_hex") as caught:
        Pickled(secret)
    assert "short" not in str(caught.value)
    assert "xxx" not in str(caught.value)


def test_a_kind_that_is_no_class_is_refused() -> None:
    """list[int] cannot be looked for in a value."""
    with pytest.raises(SettingInvalid, match="kind"):
        Pickled(SECRET, kind=list[int])


def test_the_secret_is_shown_nowhere() -> None:
    """Not in its repr, not in that of a codec or of an error."""
    given = Pickled("a secret that nobody shall ever read", kind=Model)
    assert "nobody" not in repr(given)
    assert "Model" in repr(given)
    with pytest.raises(Uncacheable) as caught:
        codec(given.secret, Model).encode(1, of="f()")
    assert "nobody" not in str(caught.value)


async def test_a_function_can_keep_what_only_pickle_keeps() -> None:
    """By a decorator, by get and set; each caller has a value of their own."""
    cache, calls = Cache(), list[int]()

    @cache(type=Pickled(SECRET, kind=Model))
    async def model(number: int) -> Model:
        calls.append(number)
        return Model([complex(number)])

    first = await model(1)
    first.weights.append(5j)
    assert await model(1) == Model([1 + 0j])
    (again,) = await model.many([1])
    again.weights.clear()
    assert await model(1) == Model([1 + 0j])
    assert calls == [1]

    kept = Pickled(SECRET, kind=Model)
    await cache.set("m", Model([2j]), type=kept)
    assert await cache.get("m", kept) == Model([2j])
    assert await cache.get("m", Pickled(OTHER, kind=Model)) is None


def test_pickle_is_loaded_by_nobody_who_did_not_ask() -> None:
    """Not by importing the cache, nor by using it for something else."""
    source = (
        "import sys, asyncio\n"
        "before = 'pickle' in sys.modules\n"
        "from tercet.cache.encoding.pickled import Pickled\n"
        "made = Pickled(b'x' * 32)\n"
        "assert before or 'pickle' not in sys.modules, 'loaded'\n"
        "made.write(1, schema=b's', key='k')\n"
        "assert 'pickle' in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", source], check=True, env=environment)
