"""A session's data: the same both ways, bounded, and of the type that was said."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import SessionDataInvalid, SettingInvalid
from tercet.sessions.data import Data, Misfit

PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(min_value=-(2**63), max_value=2**63 - 1),
        st.floats(allow_nan=False),
        st.text(alphabet=st.characters(codec="utf-8"), max_size=20),
    ),
    lambda inside: st.one_of(
        st.lists(inside, max_size=4),
        st.dictionaries(st.text(alphabet=st.characters(codec="utf-8"), max_size=8), inside, max_size=4),
    ),
    max_leaves=12,
)


class Basket(msgspec.Struct):
    """What a shop keeps."""

    items: list[int] = []
    total: Decimal = Decimal(0)
    since: datetime | None = None


class Login(msgspec.Struct):
    """A type that cannot be made of nothing."""

    user: UUID


@dataclass
class Seen:
    """A dataclass of the user's."""

    pages: set[str] = field(default_factory=set)


class Strict(msgspec.Struct):
    """A type with a check of its own, which quotes what it was given."""

    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"secret {self.number}")


def plain(largest: str | int = "64kB") -> Data[dict[str, Any]]:
    """Data without a type."""
    return Data(dict, default=None, largest=largest)


@given(st.dictionaries(st.text(alphabet=st.characters(codec="utf-8"), max_size=8), PLAIN, max_size=5))
def test_plain_data_comes_back_as_it_went_in(value: dict[str, Any]) -> None:
    """Whatever JSON knows."""
    data = plain()
    assert data.decode(data.encode(value)) == value


def test_typed_data_comes_back_with_its_types() -> None:
    """Money stays money, and a moment a moment."""
    data = Data(Basket, default=None, largest="64kB")
    value = Basket([1, 2], Decimal("9.90"), datetime(2024, 5, 1, tzinfo=UTC))
    assert data.decode(data.encode(value)) == value
    seen = Data(Seen, default=None, largest="64kB")
    assert seen.decode(seen.encode(Seen({"a", "b"}))) == Seen({"a", "b"})


@pytest.mark.parametrize(
    "value",
    [
        {"at": UUID(int=1)},
        {"price": Decimal("1.5")},
        {"pages": {1, 2}},
        {"pair": (1, 2)},
        {"deep": [{"one": datetime(2024, 1, 1)}]},
        {"basket": Basket()},
        {"what": object()},
        {"half": "\ud800"},
        {2**70: "large"},
        ["no", "dict"],
        None,
    ],
)
def test_what_would_come_back_as_something_else_is_refused(value: Any) -> None:
    """It is refused while it is written, and not a request later."""
    with pytest.raises(SessionDataInvalid) as refused:
        plain().encode(value)
    assert refused.value.mend


def test_a_field_of_another_type_is_refused_while_it_is_written() -> None:
    """Nobody checks a field when it is set; it would be no session at the next request."""
    basket = Basket()
    basket.items = ["three"]  # type: ignore[list-item]  # what a program without a type checker does
    with pytest.raises(SessionDataInvalid, match=r"Expected `int`, got `str`"):
        Data(Basket, default=None, largest="64kB").encode(basket)


def test_a_type_s_own_check_counts_and_a_session_that_fails_it_is_a_misfit() -> None:
    """Whatever a type raises while it is read is another shape."""
    data = Data(Strict, default=None, largest="64kB")
    value = Strict(1)
    value.number = -1
    with pytest.raises(SessionDataInvalid):
        data.encode(value)
    with pytest.raises(Misfit):
        data.decode(msgspec.msgpack.encode({"number": -1}))


def test_data_that_is_too_large_is_refused_with_both_sizes() -> None:
    """The sentence says how large it is, how large it may be, and what to do."""
    with pytest.raises(SessionDataInvalid) as refused:
        plain().encode({"picture": "x" * 70_000})
    assert "68.4 kB, and 64 kB are allowed" in refused.value.says
    assert "data_max" in refused.value.mend
    assert plain("128kB").encode({"picture": "x" * 70_000})


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93", msgspec.msgpack.encode([1]), msgspec.msgpack.encode("x")])
def test_bytes_of_another_shape_are_a_misfit_or_the_default(body: bytes) -> None:
    """Never an error of the decoder's."""
    with pytest.raises(Misfit):
        Data(Basket, default=None, largest="64kB").decode(body)
    assert Data(Basket, default=lambda: Basket([7]), largest="64kB").decode(body) == Basket([7])


def test_a_field_that_was_added_with_a_default_logs_nobody_out() -> None:
    """A release that only adds to a type reads what the last one wrote."""
    assert Data(Basket, default=None, largest="64kB").decode(b"\x80") == Basket()
    assert Data(Basket, default=None, largest="64kB").decode(msgspec.msgpack.encode({"gone": 1})) == Basket()


def test_a_session_begins_with_the_default_or_the_empty_type() -> None:
    """A type that needs more says so."""
    assert plain().start() == {}
    assert Data(Basket, default=lambda: Basket([1]), largest="64kB").start() == Basket([1])
    with pytest.raises(SessionDataInvalid, match="Login cannot be made of nothing"):
        Data(Login, default=None, largest="64kB").start()


def test_a_default_that_could_not_be_kept_is_found_at_once() -> None:
    """Before the first request that needs it."""
    with pytest.raises(SessionDataInvalid):
        Data(dict, default=lambda: {"at": UUID(int=1)}, largest="64kB")


def test_a_type_that_cannot_be_read_back_is_refused() -> None:
    """Two structs without tags cannot be told apart."""
    with pytest.raises(SettingInvalid):
        Data(Basket | Login, default=None, largest="64kB")  # type: ignore[arg-type]  # a mistake on purpose


@pytest.mark.parametrize("largest", ["much", 0, "1GB", -1, None])
def test_a_size_that_cannot_be_meant_is_refused(largest: Any) -> None:
    """The sentence says what would be one."""
    with pytest.raises(SettingInvalid, match="64kB"):
        plain(largest)
