"""A sample times what it says, with clocks that can be handed in."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import ProofFailed, UsageError
from tercet.proof import Sample, Stopwatch, sample


class Hands:
    """A pair of clocks that a question moves by hand."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0

    def watch(self) -> Stopwatch:
        """The clocks, for sample()."""
        return Stopwatch(lambda: self.wall, lambda: self.cpu)

    def question(self, takes: Iterator[int]) -> Callable[[], asyncio.Future[list[int]]]:
        """A question that takes the next of these nanoseconds, half of them on the CPU."""

        def ask() -> asyncio.Future[list[int]]:
            spent = next(takes)
            self.wall += spent
            self.cpu += spent // 2
            answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
            answer.set_result([spent])
            return answer

        return ask


async def test_the_warm_ones_are_not_counted_and_the_last_answer_is_kept() -> None:
    """The first is often the one that fills a cache."""
    hands = Hands()
    taken = await sample(hands.question(iter([9_000_000, 100, 300, 200])), times=3, stopwatch=hands.watch())
    assert taken.seconds == (1e-7, 3e-7, 2e-7)
    assert taken.answer == [200]
    assert (taken.median, taken.best, taken.p95) == (2e-7, 1e-7, 3e-7)
    assert taken.cpu_seconds == 3e-7
    assert taken.cpu == pytest.approx(1e-7)
    assert taken.timing.times == 3


async def test_a_batch_is_one_measurement_divided_and_its_overhead_is_stated() -> None:
    """Nothing is subtracted; what an empty await takes stands beside."""
    hands = Hands()
    taken = await sample(hands.question(iter(range(1, 100))), times=2, warm=1, batch=4, stopwatch=hands.watch())
    # Four warm calls take 1 to 4, then 5+6+7+8 and 9+10+11+12.
    assert taken.seconds == (6.5e-9, 10.5e-9)
    assert (taken.batch, taken.times) == (4, 2)
    assert taken.overhead == 0  # these clocks stand still while nothing is asked
    real = await sample(hands.question(iter(lambda: 1, 0)), times=3, batch=10)
    assert 0 < real.overhead < 1e-4


async def test_a_budget_ends_it_early_but_never_before_three() -> None:
    """One slow answer would otherwise be all the sample."""
    hands = Hands()
    second = 1_000_000_000
    slow = await sample(hands.question(iter([second] * 99)), times=90, warm=0, budget="500ms", stopwatch=hands.watch())
    assert slow.times == 3
    longer = await sample(hands.question(iter([second] * 99)), times=90, warm=0, budget=5, stopwatch=hands.watch())
    assert longer.times == 5
    few = await sample(hands.question(iter([second] * 99)), times=2, warm=0, budget=0.1, stopwatch=hands.watch())
    assert few.times == 2


@given(st.lists(st.floats(1e-9, 100), min_size=1, max_size=200))
def test_p95_is_a_measured_value_that_enough_others_do_not_exceed(seconds: list[float]) -> None:
    """The nearest rank: of fewer than 20 it is the worst."""
    taken = Sample(tuple(seconds), 0.0, None)
    within = sum(value <= taken.p95 for value in seconds)
    below = sum(value < taken.p95 for value in seconds)
    assert taken.p95 in seconds
    assert within * 100 >= 95 * len(seconds)
    assert below * 100 < 95 * len(seconds)
    if len(seconds) < 20:
        assert taken.p95 == max(seconds)
    assert taken.best <= taken.median <= taken.p95 or len(seconds) == 2


async def test_answers_that_change_while_they_are_timed_are_no_proof() -> None:
    """With same=True the first and the last are compared."""
    hands = Hands()
    with pytest.raises(ProofFailed, match="answered differently within 3 measurements"):
        await sample(hands.question(iter(range(99))), times=3, same=True, stopwatch=hands.watch())
    steady = await sample(hands.question(iter([7] * 9)), times=3, same=True, stopwatch=hands.watch())
    assert steady.answer == [7]


async def test_an_answer_that_is_changed_in_place_is_found_out() -> None:
    """The checksum of the first is taken at once, before anybody can touch it."""
    answer: list[int] = []

    async def growing() -> list[int]:
        answer.append(1)
        return answer

    with pytest.raises(ProofFailed):
        await sample(growing, times=3, same=True)


async def test_an_answer_that_is_no_rows_cannot_be_the_same() -> None:
    """It says what to return instead."""

    async def number() -> int:
        return 1

    with pytest.raises(UsageError, match="return its rows"):
        await sample(number, times=1, same=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"times": 0},
        {"times": -1},
        {"times": 3, "warm": -1},
        {"times": 3, "batch": 0},
        {"times": 3, "budget": "soon"},
        {"times": 3, "budget": -1},
    ],
)
async def test_numbers_that_make_no_sample_are_refused(wrong: dict[str, object]) -> None:
    """Before anything is asked."""

    async def never() -> None:
        raise AssertionError("asked")

    with pytest.raises(UsageError, match="sample"):
        await sample(never, **wrong)  # type: ignore[arg-type]  # wrong ones on purpose


async def test_what_the_question_raises_comes_out_as_it_is() -> None:
    """A failing question has no time."""

    async def broken() -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await sample(broken, times=3)


async def test_a_sample_of_what_never_waits_can_be_cancelled() -> None:
    """The event loop gets its turn between measurements, so bars move and Ctrl-C works."""

    async def instant() -> None:
        return None

    task = asyncio.create_task(sample(instant, times=10_000_000))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_garbage_collection_is_left_as_it_was() -> None:
    """It goes on during the sample: its pauses are real."""
    seen: list[bool] = []

    async def look() -> None:
        seen.append(gc.isenabled())

    await sample(look, times=2)
    assert seen == [True, True, True]
    assert gc.isenabled()
