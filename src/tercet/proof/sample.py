"""One question timed often."""

from __future__ import annotations

import asyncio
import gc
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tercet.errors import ProofFailed, UsageError
from tercet.proof.rows import checksum
from tercet.units import seconds

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# A budget never cuts a sample to fewer: with two, a median and a worst are the same two numbers.
TIMES_MIN = 3

# "95th percentile" in the nearest-rank sense: the value that 95 of 100 do not exceed. Under 20 it is the
# worst.
_P95 = 0.95

_NANOSECONDS = 1e9

# Enough calls that the clock's own cost and resolution vanish from the overhead's figure.
_OVERHEAD_CALLS_MIN = 1_000


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """The two clocks of a measurement, in nanoseconds: the wall's, and this process's CPU time."""

    wall: Callable[[], int] = time.perf_counter_ns
    cpu: Callable[[], int] = time.process_time_ns


@dataclass(frozen=True, slots=True)
class Timing:
    """What is told of a sample: all in seconds for one call. `cpu` is this process's, not the servers'.

    `overhead` is what an await of a coroutine that does nothing takes in the same loop. It is not subtracted,
    for a caller pays an await too, and is stated only where calls are timed in batches.
    """

    times: int
    median: float
    p95: float
    best: float
    cpu: float
    batch: int = 1
    overhead: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample(Generic[T_co]):
    """A question's times in the order in which they were taken, and its last answer."""

    seconds: tuple[float, ...]
    cpu_seconds: float
    answer: T_co
    batch: int = 1
    overhead: float = 0.0

    @property
    def times(self) -> int:
        """How many measurements there are; each is of `batch` calls."""
        return len(self.seconds)

    @property
    def median(self) -> float:
        """The seconds that half of the measurements do not exceed."""
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        """The seconds that 95 of 100 measurements do not exceed (nearest rank); under 20, the worst."""
        return sorted(self.seconds)[math.ceil(_P95 * len(self.seconds)) - 1]

    @property
    def best(self) -> float:
        """The least seconds."""
        return min(self.seconds)

    @property
    def cpu(self) -> float:
        """CPU seconds of this process for one call, whatever else it did meanwhile included."""
        return self.cpu_seconds / (len(self.seconds) * self.batch)

    @property
    def timing(self) -> Timing:
        """The figures without the answer."""
        return Timing(self.times, self.median, self.p95, self.best, self.cpu, self.batch, self.overhead)


async def sample(
    question: Callable[[], Awaitable[T]],
    *,
    times: int,
    warm: int = 1,
    budget: str | float | None = None,
    batch: int = 1,
    same: bool = False,
    stopwatch: Stopwatch | None = None,
) -> Sample[T]:
    """Ask `question` `times` times, one after another, and keep how long each took.

    The first `warm` are not counted. `budget` ("10s") ends it early, but never before three measurements. For
    what takes nanoseconds, each measurement is of `batch` calls and divided by them. With `same`, the answers
    are rows, and the first and the last must be equal, or ProofFailed is raised. What the question raises
    goes through.

    Between measurements the event loop gets a turn. Garbage is collected once before and then as always: a
    pause that the question causes is a pause that its callers will feel.
    """
    limit = _checked(times, warm, budget, batch)
    watch = stopwatch or Stopwatch()
    for _ in range(warm):
        await _ask(question, batch)
    gc.collect()
    taken: list[float] = []
    spent = cpu = 0
    first: str | None = None
    while len(taken) < times and not (len(taken) >= TIMES_MIN and spent >= limit):
        cpu_before, before = watch.cpu(), watch.wall()
        answer = await _ask(question, batch)
        elapsed = watch.wall() - before
        cpu += watch.cpu() - cpu_before
        taken.append(elapsed / batch / _NANOSECONDS)
        spent += elapsed
        if same and first is None:
            first = _checksum(answer)
        await asyncio.sleep(0)
    if first is not None and (last := _checksum(answer)) != first:
        raise _unsteady(first, last, len(taken))
    overhead = await _overhead(batch, watch) if batch > 1 else 0.0
    return Sample(tuple(taken), cpu / _NANOSECONDS, answer, batch, overhead)


async def _ask(question: Callable[[], Awaitable[T]], batch: int) -> T:
    for _ in range(batch - 1):
        await question()
    return await question()


async def _overhead(batch: int, watch: Stopwatch) -> float:
    """Seconds that one call of a question without content takes in the same loop."""

    async def nothing() -> None:
        return None

    calls = max(batch, _OVERHEAD_CALLS_MIN)
    before = watch.wall()
    await _ask(nothing, calls)
    return (watch.wall() - before) / calls / _NANOSECONDS


def _checked(times: int, warm: int, budget: str | float | None, batch: int) -> float:
    """The budget in nanoseconds, after a look at the numbers."""
    for name, value, least in (("times", times, 1), ("warm", warm, 0), ("batch", batch, 1)):
        if value < least:
            raise UsageError(f"sample() was given {name}={value!r}.", f"It takes a whole number from {least}.")
    try:
        return math.inf if budget is None else seconds(budget) * _NANOSECONDS
    except ValueError as error:
        raise UsageError(f"sample() was given budget={budget!r}.", f"{error}.") from error


def _checksum(answer: object) -> str:
    if not isinstance(answer, Iterable):
        raise UsageError(
            f"sample(same=True) got a {type(answer).__name__}.",
            "Let the question return its rows, as a list.",
        )
    return checksum(answer)


def _unsteady(first: str, last: str, times: int) -> ProofFailed:
    return ProofFailed(
        f"The same question was answered differently within {times} measurements.",
        verdict=(first, last),
        mend="Let nobody write meanwhile, and let the question order its rows to the last tie.",
    )
