"""A verdict says whether the rows are the same and how sure the ratio is."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import ProofFailed, UsageError
from tercet.proof import Sample, Verdict, compare
from tercet.proof.verdict import times

ROWS = [{"id": 1}, {"id": 2}]


def taken(*seconds: float, answer: object = ROWS) -> Sample[object]:
    """A sample of these seconds."""
    return Sample(seconds, 0.0, answer)


def spread(middle: float, seed: int, n: int = 40) -> Sample[object]:
    """A sample that scatters by a tenth around its middle."""
    draw = random.Random(seed)
    return taken(*(middle * draw.uniform(0.9, 1.1) for _ in range(n)))


def test_the_ratio_is_of_medians_and_lies_within_its_interval() -> None:
    """And the sentence says all of it."""
    verdict = compare(spread(3.2, 1), spread(0.0006, 2))
    assert verdict.same_rows
    assert verdict.low <= verdict.ratio <= verdict.high
    assert verdict.ratio == pytest.approx(3.2 / 0.0006, rel=0.1)
    assert verdict.high / verdict.low < 1.2
    assert verdict.interval == (verdict.low, verdict.high)
    assert verdict.sentence.startswith("same 2 rows; 5\u202f")
    assert "× faster (" in verdict.sentence


def test_the_same_samples_always_give_the_same_verdict() -> None:
    """The draws are seeded; a proof that changes is none."""
    assert compare(spread(2, 1), spread(1, 2)) == compare(spread(2, 1), spread(1, 2))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of 200 comparisons with a true ratio of 2, about 95 of 100 hold it."""
    held = 0
    for seed in range(200):
        verdict = compare(spread(2, 2 * seed, 21), spread(1, 2 * seed + 1, 20), resamples=400)
        held += verdict.low <= 2 <= verdict.high
    assert 178 <= held <= 200


@given(st.integers(1, 30))
def test_a_drawn_median_lies_among_the_values(n: int) -> None:
    """It is one of the values, or the middle of two of them, and never outside."""
    ordered = [float(value) for value in range(1, n + 1)]
    verdict = compare(taken(*ordered), taken(1.0), resamples=50)
    assert 1 <= verdict.low <= verdict.high <= n


def test_the_shortcut_draws_medians_as_resampling_would() -> None:
    """Both ways agree in mean and spread, for an odd and an even number of values."""
    from tercet.proof.verdict import _median

    for ordered in ([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]):
        draw = random.Random(7)
        quick = [_median(ordered, draw) for _ in range(20_000)]
        slow = [statistics.median(draw.choices(ordered, k=len(ordered))) for _ in range(20_000)]
        assert statistics.mean(quick) == pytest.approx(statistics.mean(slow), rel=0.03)
        assert statistics.stdev(quick) == pytest.approx(statistics.stdev(slow), rel=0.05)


@pytest.mark.parametrize(
    ("after", "at", "said"),
    [
        ([{"id": 1}, {"id": 3}], 1, "part at row 1"),
        ([{"id": 1}], 1, "part at row 1 (2 and 1 rows)"),
        ([{"id": 2}, {"id": 1}], 0, "part at row 0"),
        ([{"id": 1}, {"id": 2}, {"id": 3}], 2, "part at row 2 (2 and 3 rows)"),
        ([], 0, "part at row 0 (2 and 0 rows)"),
        ([{"id": 1}, {"id": 2.0}], 1, "part at row 1"),
    ],
)
def test_other_rows_are_no_proof_however_fast(after: list[dict[str, object]], at: int, said: str) -> None:
    """The first row that differs is named."""
    verdict = compare(taken(2.0), taken(0.001, answer=after))
    assert (verdict.same_rows, verdict.differs_at) == (False, at)
    assert said in verdict.sentence
    with pytest.raises(ProofFailed, match="not the same rows") as caught:
        verdict.required()
    assert caught.value.verdict is verdict


def test_a_verdict_that_is_required_passes_or_raises() -> None:
    """By the ratio of medians, or by the low end of the interval."""
    verdict = Verdict(True, 4.2, 3.9, 4.5, 4.2, 1.0, 2, 2)
    assert verdict.required(at_least=4.0) is verdict
    with pytest.raises(ProofFailed, match=r"5× faster was asked for; same 2 rows; 4\.2× faster"):
        verdict.required(at_least=5.0)
    with pytest.raises(ProofFailed, match="measure more often"):
        verdict.required(at_least=4.0, surely=True)
    with pytest.raises(ProofFailed, match="2× slower"):
        Verdict(True, 0.5, 0.4, 0.6, 1.0, 2.0, 1, 1).required()


def test_rows_can_be_given_where_the_answer_is_not_them() -> None:
    """A question may answer with an object that holds its rows."""
    verdict = compare(taken(2.0, answer=None), taken(1.0, answer=5), rows=(ROWS, iter(ROWS)))
    assert verdict.same_rows
    with pytest.raises(UsageError, match="not rows"):
        compare(taken(2.0, answer=None), taken(1.0))


def test_a_time_of_zero_is_not_divided_by() -> None:
    """It says how to measure what is too quick for the clock."""
    with pytest.raises(UsageError, match="larger batch"):
        compare(taken(2.0), taken(0.0))


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (1, "1×"),
        (4.92, "4.9×"),
        (9.96, "10×"),
        (0.482, "0.48×"),
        (99.6, "100×"),
        (5333, "5\u202f330×"),
        (3_555_556, "3\u202f560\u202f000×"),
    ],
)
def test_a_ratio_is_shown_in_no_more_figures_than_it_has(ratio: float, shown: str) -> None:
    """Three at most."""
    assert times(ratio) == shown
