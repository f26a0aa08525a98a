"""How a view is best kept up to date: by arithmetic over what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tercet.errors import SettingInvalid

Way = Literal["once", "plain", "concurrently", "delta", "triggers"]

# Measured over 1,000,000 users and 5,000,000 orders: what one changed row costs each way, in seconds of a core.
# A log of changes: written with the row, and merged later.
DELTA_WRITE_SECONDS = 0.000_002
DELTA_MERGE_SECONDS = 0.000_026
# Statement triggers keep the sums within the writer's own statement: what a single insert waits longer.
TRIGGER_WRITE_SECONDS = 0.000_27
# A refresh may take a quarter of the age that is tolerated: at twice its time there is still room to fail once.
REFRESH_SHARE_MAX = 1 / 4
# A plain refresh makes readers wait for its whole time: unnoticed up to here, and cheaper than a concurrent one.
READERS_WAIT_SECONDS = 0.05
# Below this age a merge would run all the time.
MERGE_SECONDS_MIN = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to keep a view, what it costs, and why; `every` is in seconds, `core` a share of one core."""

    way: Way
    why: str
    every: float | None = None
    core: float = 0.0
    # What a single changed row makes its writer wait longer.
    write_ms: float = 0.0


def policy(
    refresh_seconds: float,
    change_rate: float,
    tolerated_age: float,
    *,
    additive: bool = True,
    readers_wait: bool = False,
) -> Policy:
    """The cheapest way that keeps within `tolerated_age` (seconds); `change_rate` is changed rows a second.

    `additive` says that only sums and counts are kept, so that changes can be added and taken away;
    `readers_wait` that nobody minds waiting for a plain refresh. Raises SettingInvalid below zero.
    """
    given = {"refresh_seconds": refresh_seconds, "change_rate": change_rate, "tolerated_age": tolerated_age}
    for name, value in given.items():
        if not value >= 0:
            raise SettingInvalid(name, where="policy()", shown=repr(value), wanted="a number that is not below zero")
    if change_rate == 0:
        return Policy("once", "nothing changes in its tables: it is refreshed after a load, and never else")
    refresh = _refresh(refresh_seconds, tolerated_age, readers_wait=readers_wait)
    if not additive:
        return refresh or _forced(refresh_seconds, tolerated_age)
    delta = _delta(change_rate, tolerated_age)
    if refresh is not None and (delta is None or refresh.core <= delta.core):
        return refresh
    return delta or _triggers(change_rate, tolerated_age)


def _refresh(seconds: float, age: float, *, readers_wait: bool) -> Policy | None:
    """A refresh on schedule, if it is done in a quarter of the age."""
    if age <= 0 or seconds > age * REFRESH_SHARE_MAX:
        return None
    # What is read last before the next refresh ends is as old as the pause and that refresh.
    every = age - seconds
    plain = readers_wait or seconds <= READERS_WAIT_SECONDS
    way: Way = "plain" if plain else "concurrently"
    waiting = "readers wait meanwhile" if plain else "readers go on meanwhile"
    why = (
        f"a refresh takes {_written(seconds)}, at most a quarter of the {_written(age)} that are tolerated: "
        f"every {_written(every)} it costs {seconds / every:.1%} of a core; {waiting}"
    )
    return Policy(way, why, every, seconds / every)


def _delta(rate: float, age: float) -> Policy | None:
    """A log of changes, merged as often as the age asks."""
    if age < MERGE_SECONDS_MIN:
        return None
    core = rate * (DELTA_WRITE_SECONDS + DELTA_MERGE_SECONDS)
    every = age / 2
    why = (
        f"{rate:,.3g} changes a second cost {core:.1%} of a core in a log that is merged every {_written(every)}: "
        "less than refreshes would, and each writer waits for a line of the log only"
    )
    return Policy("delta", why, every, core, DELTA_WRITE_SECONDS * 1_000)


def _triggers(rate: float, age: float) -> Policy:
    core = rate * TRIGGER_WRITE_SECONDS
    why = (
        f"{_written(age)} is less than a merge can promise: triggers keep it within each write, "
        f"which then takes {TRIGGER_WRITE_SECONDS * 1_000:.2f} ms longer ({core:.1%} of a core at {rate:,.3g} a second)"
    )
    return Policy("triggers", why, None, core, TRIGGER_WRITE_SECONDS * 1_000)


def _forced(seconds: float, age: float) -> Policy:
    """As often as it can be done, where changes cannot be added up."""
    every = max(seconds / REFRESH_SHARE_MAX, READERS_WAIT_SECONDS)
    why = (
        f"a refresh takes {_written(seconds)}, more than a quarter of the {_written(age)} that are tolerated, and what "
        f"it keeps cannot be added up by changes (a least, a greatest, distinct values): it gets {_written(every)} old"
    )
    return Policy("concurrently", why, every, seconds / every)


def _written(seconds: float) -> str:
    """A time as people write it."""
    for unit, length in (("h", 3_600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= length:
            return f"{seconds / length:,.3g} {unit}"
    return f"{seconds * 1_000:,.3g} ms"
