"""Binary COPY, read back by the words of PostgreSQL's manual."""

from __future__ import annotations

import struct
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tercet_shop import copy_rows as copy
from tercet_shop.assemble import texts

PENCE = st.integers(0, 10**12 - 1)


def _fields(data: bytes) -> list[list[bytes]]:
    """The fields of each tuple."""
    rows, at = [], 0
    while at < len(data):
        (count,) = struct.unpack_from("!h", data, at)
        at += 2
        row = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", data, at)
            row.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        rows.append(row)
    return rows


def _numeric(data: bytes) -> Decimal:
    count, weight, sign, scale = struct.unpack_from("!hhhh", data)
    groups = struct.unpack_from(f"!{count}h", data, 8)
    assert (sign, all(0 <= group < 10_000 for group in groups)) == (0, True)
    value = sum(Decimal(group) * Decimal(10_000) ** (weight - place) for place, group in enumerate(groups))
    return Decimal(value).quantize(Decimal(1).scaleb(-scale))


@given(st.lists(PENCE, min_size=1, max_size=50))
def test_money_is_exact_to_the_penny(pence: list[int]) -> None:
    """Whole pence come back as the decimal number that they are, up to the column's last digit."""
    rows = _fields(copy.rows(len(pence), [copy.money(np.array(pence))]))
    assert [_numeric(row[0]) for row in rows] == [Decimal(value).scaleb(-2) for value in pence]


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=5)), min_size=1, max_size=40))
def test_texts_of_any_length_keep_their_places(pairs: list[tuple[str, str]]) -> None:
    """Each row has its own texts, joined where they are parts of one field, whatever stands around them."""
    first, second = (texts(pair[place] for pair in pairs) for place in (0, 1))
    numbers = np.arange(len(pairs))
    data = copy.rows(len(pairs), [copy.text(first, b"-", second), copy.bigint(numbers), copy.text(second)])
    expected = [
        [f"{one}-{two}".encode(), struct.pack("!q", number), two.encode()]
        for number, (one, two) in enumerate(pairs)
    ]
    assert _fields(data) == expected


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20))
def test_numbers_and_moments_are_in_network_order(values: list[int]) -> None:
    """Integers are big-endian; a moment counts microseconds from the year 2000."""
    numbers = np.array(values)
    fields = [copy.bigint(numbers), copy.integer(numbers), copy.timestamptz(numbers)]
    expected = [
        [struct.pack("!q", value), struct.pack("!i", value), struct.pack("!q", (value - 946_684_800) * 10**6)]
        for value in values
    ]
    assert _fields(copy.rows(len(values), fields)) == expected


def test_no_rows_are_no_bytes() -> None:
    """A block without rows adds nothing to the stream."""
    nothing = np.zeros(0, dtype=np.int64)
    assert copy.rows(0, [copy.bigint(nothing), copy.money(nothing), copy.text(texts(()))]) == b""
