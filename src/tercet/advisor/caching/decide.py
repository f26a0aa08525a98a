"""An index, a view or a cache: the one that costs the server least, and the simpler one where they are close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.errors import SettingInvalid

if TYPE_CHECKING:
    from tercet.advisor.caching.candidate import Figures

Place = Literal["none", "index", "view", "cache"]

# What is simpler comes first: an index is never old, a view is as old as its refresh, a cache is one more server.
_SIMPLER: tuple[Place, ...] = ("none", "index", "view", "cache")
# The less simple one has to cost the server so many times less.
_WORTH = 2.0
# A quarter of a percent of a core is nothing that anybody should maintain something for.
_CORE_MIN = 0.0025
# What Redis and the process take for a kept answer, as measured over the loopback.
_KEPT_MS = 0.3


@dataclass(frozen=True, slots=True)
class Option:
    """One place for a statement: what most callers wait, and the share of a core that the database spends on it."""

    place: Place
    ms: float
    core: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a statement belongs, why, and what was weighed."""

    place: Place
    why: str
    options: tuple[Option, ...]


def decide(
    reads: float,
    ms: float,
    *,
    index_ms: float | None = None,
    view_ms: float | None = None,
    view_core: float = 0.0,
    cache: Figures | None = None,
    wanted_ms: float | None = None,
) -> Decision:
    """The place for a statement that is asked `reads` times a second and takes `ms` now.

    `index_ms` and `view_ms` are what it would take with them, `view_core` what keeping the view costs
    (`views.Policy.core`); `wanted_ms` is how long callers may wait: what does not get there is not taken
    while something else does. Raises SettingInvalid below zero.
    """
    for name, value in {"reads": reads, "ms": ms}.items():
        if not value >= 0:
            raise SettingInvalid(name, where="decide()", shown=repr(value), wanted="a number that is not below zero")
    options = [Option("none", ms, reads * ms / 1_000)]
    if index_ms is not None:
        options.append(Option("index", index_ms, reads * index_ms / 1_000))
    if view_ms is not None:
        options.append(Option("view", view_ms, reads * view_ms / 1_000 + view_core))
    if cache is not None:
        # What is not kept is asked of the best that there is without a cache.
        below = min(options, key=lambda one: one.ms)
        waits = _KEPT_MS if cache.hits >= _HALF else below.ms
        options.append(Option("cache", waits, below.core * (1 - cache.hits)))
    reaching = [one for one in options if wanted_ms is None or one.ms <= wanted_ms] or options
    chosen = min(reaching, key=lambda one: _SIMPLER.index(one.place))
    for one in sorted(reaching, key=lambda one: _SIMPLER.index(one.place)):
        if chosen.core > _CORE_MIN and one.core * _WORTH <= chosen.core:
            chosen = one
    return Decision(chosen.place, _why(chosen, options, wanted_ms), tuple(options))


# Half of the callers find the answer kept: then that is what most of them wait.
_HALF = 0.5


def _why(chosen: Option, options: list[Option], wanted_ms: float | None) -> str:
    told = "; ".join(f"{_WORDS[one.place]} {one.ms:.3g} ms and {one.core:.2%} of a core" for one in options)
    wish = f", with at most {wanted_ms:.3g} ms wanted" if wanted_ms is not None else ""
    reason = {
        "none": "nothing else costs the server half as much",
        "index": "it is never old, and nothing costs half as much",
        "view": "it costs less than half of what an index does, its refreshes included",
        "cache": "most reads never reach the database",
    }[chosen.place]
    return f"{told}{wish}: {_WORDS[chosen.place]}, for {reason}"


_WORDS: dict[Place, str] = {"none": "as it is", "index": "an index", "view": "a view", "cache": "a cache"}
