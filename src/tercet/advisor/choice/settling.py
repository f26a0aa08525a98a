"""Choosing, running what was chosen, and choosing again with what that taught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.choice.bounds import SLOWER_MOST, STATEMENT_MS_MIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.advisor.choice.chosen import Choice
    from tercet.advisor.choice.observation import Observation

# How often it is chosen again. Each takes as long as running the statements does, and most end after one.
ROUNDS_AGAIN = 2


@dataclass(frozen=True, slots=True)
class Settled:
    """The choice that did best when it was run, and all that was measured on the way, the latest last."""

    choice: Choice
    observed: tuple[Observation, ...] = ()
    # Fingerprints of those that this choice makes slower, as measured.
    slower: tuple[str, ...] = ()
    # How often the statements were run.
    rounds: int = 0


async def settle(
    choose: Callable[[Sequence[Observation]], Awaitable[Choice]],
    measure: Callable[[Choice], Awaitable[Sequence[Observation]]],
    *,
    rounds: int = ROUNDS_AGAIN,
) -> Settled:
    """Choose and measure until no statement that was run is slower than it may be, at most so many `rounds` again.

    `choose` is given all that was observed so far; `measure` builds what was picked where it may, runs the statements
    and tells of each. If there is no end to it, the choice that loses fewest statements is it, of those the fastest.
    """
    observed: tuple[Observation, ...] = ()
    ways: list[tuple[tuple[int, float], Settled]] = []
    known: set[frozenset[str]] = set()
    for number in range(1 + rounds):
        choice = await choose(observed)
        names = frozenset(one.candidate.name for one in choice.picked)
        if names in known:
            break
        known.add(names)
        ran = tuple(await measure(choice)) if names else ()
        observed += ran
        slower = tuple(one.fingerprint for one in ran if too_slow(one))
        settled = Settled(choice, observed, slower, number + 1)
        ways.append(((len(slower), _saving(choice, ran)), settled))
        if not slower:
            break
    best = min(ways, key=lambda way: way[0])[1]
    return Settled(best.choice, observed, best.slower, len(ways))


def too_slow(one: Observation) -> bool:
    """Whether a statement became slower than any should."""
    return one.ms > one.ms_before * SLOWER_MOST and one.ms - one.ms_before > STATEMENT_MS_MIN


def _saving(choice: Choice, ran: Sequence[Observation]) -> float:
    """What all calls take more than before, as measured; the lower the better."""
    calls = {one.fingerprint: one.calls for one in choice.outlooks}
    return sum((one.ms - one.ms_before) * calls.get(one.fingerprint, 1.0) for one in ran)
