"""Rate limits: GCRA in Redis, several rates in one round trip, all or nothing."""

from tercet.limits.decision import Decision
from tercet.limits.limits import Limit, Limits
from tercet.limits.rate import Rate

__all__ = ["Decision", "Limit", "Limits", "Rate"]
