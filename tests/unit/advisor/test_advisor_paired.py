"""Pairs of measurements: how much faster, and whether that may be chance."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.advisor.verify.paired import compare_pairs

TIMES = st.lists(st.tuples(st.floats(0.01, 1e5), st.floats(0.01, 1e5)), min_size=1, max_size=12)


def test_five_pairs_in_agreement_are_a_proof_and_four_are_not_a_test() -> None:
    """Of 32 ways to give five pairs their signs one is as good; with four it would be one of 16."""
    five = compare_pairs([2.0] * 5, [1.0, 1.1, 1.2, 1.3, 1.4])
    assert five.chance == pytest.approx(1 / 32)
    assert five.surely(1.1)
    four = compare_pairs([2.0] * 4, [1.0, 1.1, 1.2, 1.3])
    assert four.chance is None
    assert four.surely(1.1)


def test_few_pairs_that_differ_by_little_prove_nothing() -> None:
    """With fewer than five, a tenth is what a busy machine makes of nothing."""
    assert not compare_pairs([1.12, 1.15], [1.0, 1.0]).surely(1.1)
    assert not compare_pairs([5.0, 1.0], [1.0, 1.0]).surely(1.1)


def test_the_estimate_does_not_follow_one_stray_pair() -> None:
    """Eight pairs of equals and one that was interrupted: no gain, and no loss."""
    found = compare_pairs([10.0] * 9, [10.1, 9.9, 10.0, 10.05, 9.95, 400.0, 10.02, 9.98, 10.01])
    assert 0.9 < found.ratio < 1.1
    assert not found.surely(1.1)
    assert not found.surely_slower(1.1)


def test_a_loss_is_proved_as_a_gain_is() -> None:
    """Twice as slow in each of nine pairs."""
    found = compare_pairs([5.0] * 9, [10.0 + number / 10 for number in range(9)])
    assert found.surely_slower(1.1)
    assert not found.surely(1.1)
    assert found.high < 0.6


def test_the_chance_is_that_of_the_signed_ranks() -> None:
    """Against a table: nine pairs whose ranks for the other side add up to 3 come to 5 of 512 ways."""
    logs = [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 3.0, -1.0, -2.0]
    found = compare_pairs([math.exp(one) for one in logs], [1.0] * 9)
    assert found.chance == pytest.approx(5 / 512)


@given(TIMES)
def test_the_other_way_round_is_the_other_way_round(pairs: list[tuple[float, float]]) -> None:
    """Before and after exchanged: the ratio and its interval turn over, the chance stays."""
    before, after = [one for one, _ in pairs], [two for _, two in pairs]
    one, other = compare_pairs(before, after), compare_pairs(after, before)
    assert one.ratio == pytest.approx(1 / other.ratio)
    assert one.low == pytest.approx(1 / other.high)
    assert one.low <= one.ratio * (1 + 1e-9)
    assert one.ratio <= one.high * (1 + 1e-9)


@given(TIMES)
def test_what_is_compared_with_itself_is_never_faster(pairs: list[tuple[float, float]]) -> None:
    """Equal times are no gain, however many there are."""
    times = [one for one, _ in pairs]
    found = compare_pairs(times, times)
    assert found.ratio == 1
    assert not found.surely(1.0001)


def test_no_pairs_are_no_comparison() -> None:
    """Nothing can be said of nothing."""
    with pytest.raises(ValueError, match="no pairs"):
        compare_pairs([], [])


def test_more_pairs_are_run_only_where_they_may_say_more() -> None:
    """Not where all agree by a quarter, to either side, nor where none differs by as much as counts."""
    assert compare_pairs([10.0] * 5, [8.0] * 5).settled(1.1)
    assert compare_pairs([8.0] * 5, [10.0] * 5).settled(1.1)
    assert not compare_pairs([10.0] * 5, [8.0] * 4 + [9.0]).settled(1.1)
    assert compare_pairs([10.0] * 5, [10.5, 9.5, 10.0, 9.2, 10.9]).settled(1.1)
    assert not compare_pairs([10.0] * 5, [10.5, 9.5, 10.0, 9.0, 10.0]).settled(1.1)
