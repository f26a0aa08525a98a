"""Choosing again with what running has taught, as long as it takes something away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.choice import Observation
from tercet.sql import Index

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from tercet.advisor.choice import Choice
    from tercet.advisor.verify.change import Held, Verdicts, Verified

# How often it is chosen again. Each takes as long as running the statements does, and most end without one.
ROUNDS_AGAIN = 2
# It is, where this share of what was promised has not held. Below it there is little to be found in its place.
BROKEN_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Way:
    """A choice, and what came of running it; None where there was nothing to run for it.

    `names` are those that the engine knows the picked indexes by: a run may make plain ones of unique ones.
    """

    choice: Choice
    names: frozenset[str]
    verdicts: Verdicts | None = None

    @property
    def withdrawn(self) -> tuple[Held, ...]:
        """The indexes that did not hold."""
        gone = self.verdicts.withdrawn if self.verdicts is not None else ()
        return tuple(one for one in gone if isinstance(one.change, Index))

    @property
    def broken(self) -> bool:
        """Whether what did not hold had promised so much that something else is worth looking for."""
        gone = {held.change for held in self.withdrawn}
        lost = sum(one.benefit_ms for one in self.choice.picked if one.candidate.index in gone)
        return lost > 0 and lost >= BROKEN_SHARE * (self.choice.ms_before - self.choice.ms_after)

    @property
    def saved(self) -> float:
        """Milliseconds that all calls save by what has held."""
        calls = {one.fingerprint: one.calls for one in self.choice.outlooks}
        ran = self.verdicts.statements if self.verdicts is not None else ()
        return sum(calls.get(one.fingerprint, 1.0) * (_before(one) - _after(one)) for one in ran)


async def settle(
    choice: Choice,
    run: Callable[[Choice], Awaitable[Way]],
    again: Callable[[Sequence[Way]], Awaitable[Choice]],
    ways: list[Way],
    *,
    going: Callable[[], bool] = lambda: True,
    rounds: int = ROUNDS_AGAIN,
) -> None:
    """Run a choice; where it breaks its promise, choose `again` with what is known by then, and run that.

    All that were run are added to `ways`, whatever ends it: also that it is `going` on no longer.
    """
    ways.append(await run(choice))
    for _ in range(rounds):
        if not ways[-1].broken or not going():
            return
        choice = await again(ways)
        if picked(choice) in [way.names for way in ways]:
            return
        ways.append(await run(choice))


def picked(choice: Choice) -> frozenset[str]:
    """The names of what was picked."""
    return frozenset(one.candidate.name for one in choice.picked)


def observed(ways: Sequence[Way], rewritten: Collection[str]) -> tuple[Observation, ...]:
    """What the runs say of plans, the latest last; of a `rewritten` statement nothing, whose text is another before."""
    return tuple(
        Observation(
            one.verified.fingerprint,
            frozenset(change.name for change in one.changes if isinstance(change, Index)),
            _after(one.verified),
            _before(one.verified),
        )
        for way in ways
        for one in (way.verdicts.trials if way.verdicts is not None else ())
        if one.verified.fingerprint not in rewritten and one.verified.ms_before and one.verified.ms_after
    )


def _before(one: Verified) -> float:
    return one.ms_before or 0.0


def _after(one: Verified) -> float:
    """What it took; as long as before where the two are not to be told apart."""
    if one.ms_after is None or one.outcome not in {"faster", "slower"}:
        return _before(one)
    return one.ms_after
