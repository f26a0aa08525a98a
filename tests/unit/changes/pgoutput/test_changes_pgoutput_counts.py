"""Positions of the log, transaction ids, and the frames around the messages."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.changes.pgoutput import Keepalive, keepalive, lsn_read, lsn_text, status, xlog_end
from tercet.changes.pgoutput.counts import Widening
from tercet.errors import FeedBroken


@given(st.integers(0, (1 << 64) - 1))
def test_a_position_comes_back_from_its_text(lsn: int) -> None:
    """As a number it can be compared."""
    assert lsn_read(lsn_text(lsn)) == lsn


def test_a_position_is_written_as_postgresql_writes_it() -> None:
    """Two numbers in hexadecimal, the upper half first."""
    assert lsn_text(0x16B3748) == "0/16B3748"
    assert lsn_text((0xA << 32) | 0xFF) == "A/FF"


@pytest.mark.parametrize("text", ["", "0", "0/", "/1", "0/G", "1/100000000", "-1/0", "0/1_0", "0/1 "])
def test_what_is_no_position_is_refused(text: str) -> None:
    """It is not guessed at."""
    with pytest.raises(ValueError, match="no log position"):
        lsn_read(text)


@given(
    st.integers(1 << 31, 1 << 62),
    st.lists(st.integers(-(1 << 30) + 1, (1 << 30) - 1), min_size=1, max_size=50),
)
def test_ids_are_widened_to_the_nearest(start: int, steps: list[int]) -> None:
    """However they go back and forth, within half a round of the newest."""
    widen = Widening(start)
    newest = start
    for step in steps:
        true = newest + step
        assert widen(true % (1 << 32)) == true
        newest = max(newest, true)


def test_the_first_ids_of_a_young_server_are_not_below_nothing() -> None:
    """There is nothing before 0."""
    assert Widening(5)((1 << 32) - 1) == (1 << 32) - 1


def test_a_keepalive_tells_how_far_the_log_goes_and_whether_to_answer() -> None:
    """And what is none is refused."""
    frame = b"k" + struct.pack(">QqB", 77, 1_000_000, 1)
    assert keepalive(frame) == Keepalive(77, datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC), answer=True)
    for broken in (frame[:-1], frame + b"x", b"w" + frame[1:]):
        with pytest.raises(FeedBroken):
            keepalive(broken)


def test_a_data_frame_tells_how_far_the_log_goes() -> None:
    """Beside what it carries."""
    assert xlog_end(b"w" + struct.pack(">QQq", 70, 77, 0) + b"B") == 77
    with pytest.raises(FeedBroken):
        xlog_end(b"w")


def test_the_status_is_laid_out_as_the_protocol_wants_it() -> None:
    """What was written, flushed and applied, the time, and whether an answer is wanted."""
    at = datetime(2000, 1, 1, 0, 0, 2, tzinfo=UTC)
    told = status(written=3, flushed=2, applied=1, at=at, answer=True)
    assert told == b"r" + struct.pack(">QQQqB", 3, 2, 1, 2_000_000, 1)
