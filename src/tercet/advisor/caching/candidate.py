"""An answer that might be kept, with the figures that speak for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tercet.advisor.advice import CachePolicy


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted, a second: `reads` of the statement, `writes` that drop one kept answer; `ms` of one read.

    `answers` is how many different ones there may be, `bytes` what one takes, `hits` the share of reads that finds
    its answer kept.
    """

    reads: float
    writes: float
    ms: float
    answers: float
    bytes: float
    hits: float
    # How long a kept answer stays true, in seconds.
    lifetime: float


@dataclass(frozen=True, slots=True)
class CacheCandidate:
    """A policy with its reason; `setup` are the lines of a migration by which the database tells its changes.

    `conditions` is what is to be known of it.
    """

    policy: CachePolicy
    why: str
    figures: Figures
    setup: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of the statement whose answers are kept."""
        return self.policy.fingerprint
