"""Values: PostgreSQL's text by the type's number, and what comes of it."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.changes.change import Wants
from tercet.changes.pgoutput.types import BY_NUMBER

BOOL, BYTEA, INT8, INT4, TEXT, FLOAT8, NUMERIC, JSONB = 16, 17, 20, 23, 25, 701, 1700, 3802
DATE, TIME, TIMESTAMP, TIMESTAMPTZ, INTERVAL, TIMETZ, UUID_TYPE, JSON = 1082, 1083, 1114, 1184, 1186, 1266, 2950, 114
TEXTS, INTS, NUMERICS, BOOLS, BYTEAS, TIMESTAMPTZS = 1009, 1007, 1231, 1000, 1001, 1185

AN_ID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


@pytest.mark.parametrize(
    ("number", "written", "value"),
    [
        (BOOL, "t", True),
        (BOOL, "f", False),
        (INT8, "-9223372036854775808", -(2**63)),
        (FLOAT8, "1e+300", 1e300),
        (FLOAT8, "-Infinity", -math.inf),
        (NUMERIC, "1.50", Decimal("1.50")),
        (NUMERIC, "Infinity", Decimal("Infinity")),
        (BYTEA, "\\x00ff", b"\0\xff"),
        (BYTEA, "\\x", b""),
        (UUID_TYPE, AN_ID, UUID(AN_ID)),
        (DATE, "2026-11-22", date(2026, 11, 22)),
        (DATE, "infinity", "infinity"),
        (DATE, "0044-03-15 BC", "0044-03-15 BC"),
        (DATE, "10000-01-01", "10000-01-01"),
        (TIME, "12:34:56.1", time(12, 34, 56, 100_000)),
        (TIME, "24:00:00", "24:00:00"),
        (TIMETZ, "12:34:56+05:30", time(12, 34, 56, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
        (TIMETZ, "12:34:56-08", time(12, 34, 56, tzinfo=timezone(timedelta(hours=-8)))),
        (TIMESTAMP, "2026-11-22 03:04:05", datetime(2026, 11, 22, 3, 4, 5)),
        (TIMESTAMP, "-infinity", "-infinity"),
        (TIMESTAMPTZ, "2026-11-22 03:04:05.123456+00", datetime(2026, 11, 22, 3, 4, 5, 123456, tzinfo=UTC)),
        (TIMESTAMPTZ, "2026-11-22 03:04:05.12+00", datetime(2026, 11, 22, 3, 4, 5, 120000, tzinfo=UTC)),
        (TIMESTAMPTZ, "0044-03-15 00:00:00+00 BC", "0044-03-15 00:00:00+00 BC"),
        (INTERVAL, "PT0S", timedelta(0)),
        (INTERVAL, "P3DT4H5M6.5S", timedelta(days=3, hours=4, minutes=5, seconds=6.5)),
        (INTERVAL, "P-1DT2H-3M-0.000001S", timedelta(days=-1, hours=2, minutes=-3, microseconds=-1)),
        (INTERVAL, "P1Y2M", "P1Y2M"),
        (INTERVAL, "P999999999999D", "P999999999999D"),
        (INTERVAL, "infinity", "infinity"),
        (JSON, '{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        (JSONB, "123456789012345678901234567890", 123456789012345678901234567890),
        (JSONB, "null", None),
        (JSONB, "[" * 100_000 + "]" * 100_000, "[" * 100_000 + "]" * 100_000),
        (TEXTS, "{}", []),
        (TEXTS, '{a,NULL,"NULL",""}', ["a", None, "NULL", ""]),
        (TEXTS, r'{"a \"q\" \\ {x},y",é}', ['a "q" \\ {x},y', "é"]),
        (TEXTS, "{{a,b},{c,NULL}}", [["a", "b"], ["c", None]]),
        (INTS, "[0:2]={1,2,3}", [1, 2, 3]),
        (INTS, "[0:0][-1:1]={{1,2,3}}", [[1, 2, 3]]),
        (INTS, "{{{1},{2}},{{3},{4}}}", [[[1], [2]], [[3], [4]]]),
        (NUMERICS, "{1.50,NaN}", None),
        (BOOLS, "{t,f,NULL}", [True, False, None]),
        (BYTEAS, r'{"\\x00ff"}', [b"\0\xff"]),
        (
            TIMESTAMPTZS,
            '{"2026-11-22 03:04:05+00",infinity}',
            [datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC), "infinity"],
        ),
    ],
)
def test_a_value_is_what_its_type_says(number: int, written: str, value: object) -> None:
    """What Python's type cannot hold stays text."""
    read = BY_NUMBER[number](written.encode())
    if number == NUMERICS:
        assert isinstance(read, list)
        assert read[0] == Decimal("1.50")
        assert read[1].is_nan()
    else:
        assert (type(read), read) == (type(value), value)


def test_text_that_is_not_utf_8_can_be_written_back() -> None:
    """A database in SQL_ASCII holds any bytes."""
    read = BY_NUMBER[TEXT](b"gar\xe7")
    assert isinstance(read, str)
    assert read.encode(errors="surrogateescape") == b"gar\xe7"


@pytest.mark.parametrize("written", ["{a", "{{a}", "a}", "{a}}", '{"a', '"a"{}', "{}{}", '{{a}},"b"'])
def test_an_array_whose_braces_do_not_match_is_a_fault(server: Any, written: str) -> None:
    """It is no other array; where it has no braces at all, nobody has written it."""
    decoder = server.decoder(Wants({"t": None}))
    server.read(decoder, server.begin(7), server.relation(1, "t", (("a", INTS),)))
    with pytest.raises(Exception, match="not of its type"):
        server.read(decoder, server.insert(1, written))


def _array(value: object) -> str:
    """An array as PostgreSQL may write it: all in quotes."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "{" + ",".join(map(_array, value)) + "}"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.lists(st.none() | _TEXT), st.lists(st.lists(_TEXT, min_size=2, max_size=2), min_size=1))
def test_an_array_comes_back_as_it_was_written(flat: list[str | None], square: list[list[str]]) -> None:
    """Whatever its texts are, in one dimension and in two."""
    assert BY_NUMBER[TEXTS](_array(flat).encode()) == flat
    assert BY_NUMBER[TEXTS](_array(square).encode()) == square


@given(st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=20))
def test_an_array_of_numbers_comes_back_as_it_was_written(numbers: list[int | None]) -> None:
    """PostgreSQL does not put them in quotes."""
    written = "{" + ",".join("NULL" if number is None else str(number) for number in numbers) + "}"
    assert BY_NUMBER[INTS](written.encode()) == numbers


@given(st.timedeltas(timedelta(days=-20_000), timedelta(days=20_000)))
def test_an_interval_comes_back_as_it_was_written(length: timedelta) -> None:
    """Each of its parts may have a sign."""
    days, rest = divmod(length, timedelta(days=1))
    seconds, micros = divmod(rest // timedelta(microseconds=1), 1_000_000)
    assert BY_NUMBER[INTERVAL](f"P{days}DT{seconds // 60}M{seconds % 60}.{micros:06}S".encode()) == length


# A column's type, a value, and PostgreSQL's text of it.
_CELL = st.one_of(
    st.booleans().map(lambda value: (BOOL, value, "t" if value else "f")),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: (INT8, value, str(value))),
    _TEXT.map(lambda value: (TEXT, value, value)),
    st.binary().map(lambda value: (BYTEA, value, "\\x" + value.hex())),
    st.decimals(allow_nan=False).map(lambda value: (NUMERIC, value, str(value))),
    st.floats(allow_nan=False).map(lambda value: (FLOAT8, value, repr(value))),
    st.uuids().map(lambda value: (UUID_TYPE, value, str(value))),
    st.dates().map(lambda value: (DATE, value, value.isoformat())),
    st.datetimes().map(lambda value: (TIMESTAMP, value, str(value))),
    st.datetimes(timezones=st.just(UTC)).map(lambda value: (TIMESTAMPTZ, value, str(value).removesuffix(":00"))),
    st.dictionaries(_TEXT, st.integers() | _TEXT).map(lambda value: (JSONB, value, json.dumps(value))),
    st.sampled_from([BOOL, INT4, TEXT, JSONB, TEXTS]).map(lambda number: (number, None, None)),
)


@given(st.lists(_CELL, min_size=1, max_size=12), st.data())
def test_a_row_comes_back_as_it_was_written(
    server: Any, cells: list[tuple[int, object, str | None]], data: st.DataObject
) -> None:
    """Whatever is in its columns, and whichever of them somebody wants."""
    names = [f"c{place}" for place in range(len(cells))]
    wanted = data.draw(st.frozensets(st.sampled_from(names)))
    relation = server.relation(1, "t", [(name, number) for name, (number, _, _) in zip(names, cells, strict=True)])
    row = [text for _, _, text in cells]
    decoder = server.decoder(Wants({"t": wanted}))
    [commit] = server.read(
        decoder, server.begin(7), relation, server.insert(1, *row), server.update(1, *row, old=row), server.commit()
    )
    expected = {name: value for name, (_, value, _) in zip(names, cells, strict=True) if name in wanted}
    assert [dict(change.new) for change in commit.changes] == [expected, expected]
    assert commit.changes[1].old == expected
