"""How long a holder may believe that a lock is its own, by its own clocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import SettingInvalid
from tercet.units import seconds

if TYPE_CHECKING:
    from tercet.clock import Clock

# A shorter lease would be lost to any pause of a busy machine.
TTL_SECONDS_MIN = 0.1
# A longer one is not a lease any more: nobody could wait for the end of a dead holder's.
TTL_SECONDS_MAX = 7 * 86_400.0

# The holder stops this share of the ttl before Redis does: for clocks that run at different speeds, and for the
# time that it takes to cancel the work.
MARGIN = 0.1
# Renewals begin when this share of the ttl is over, so that two more can fail.
RENEW_AT = 1 / 3


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by both clocks: one never goes back, the other goes on while the machine is suspended."""

    monotonic: float
    wall: float

    @classmethod
    def now(cls, clock: Clock) -> Moment:
        """This moment."""
        return cls(clock.monotonic(), clock.now().timestamp())

    def seconds_to(self, other: Moment) -> float:
        """How long after this one the other is, by the clock that says more."""
        return max(other.monotonic - self.monotonic, other.wall - self.wall)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lock granted for `ttl` seconds, at some time after `since`.

    `since` is when the question left to which the grant is the answer, or the last one that had been answered
    with "not yet": Redis cannot have begun to count before it.
    """

    since: Moment
    ttl: float

    def remaining(self, now: Moment) -> float:
        """Seconds for which it may still be believed in; not positive when it is over."""
        return self.ttl * (1 - MARGIN) - self.since.seconds_to(now)

    def renew_in(self, now: Moment) -> float:
        """Seconds until it should be renewed; not positive when it should be now."""
        return self.ttl * RENEW_AT - self.since.seconds_to(now)


def checked_ttl(ttl: str | float, where: str) -> float:
    """The seconds of a ttl that can be held."""
    found = _seconds(ttl, "ttl", where)
    if not TTL_SECONDS_MIN <= found <= TTL_SECONDS_MAX:
        raise SettingInvalid("ttl", where=where, shown=repr(ttl), wanted="between 100 ms and 7 days")
    return found


def checked_wait(wait: str | float, where: str) -> float:
    """The seconds of a wait; 0 is one try."""
    return _seconds(wait, "wait", where)


def checked_count(count: int, least: int, most: int, what: str, where: str) -> int:
    """A whole number within its bounds."""
    if type(count) is not int or not least <= count <= most:
        raise SettingInvalid(what, where=where, shown=repr(count), wanted=f"a whole number from {least} to {most}")
    return count


def _seconds(value: str | float, what: str, where: str) -> float:
    try:
        return seconds(value)
    except ValueError as error:
        raise SettingInvalid(
            what, where=where, shown=repr(value), wanted="a duration such as '250ms', '10s' or 2.5"
        ) from error
