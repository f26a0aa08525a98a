"""Which answers are worth keeping, under which key, and what makes them old; the lines to paste."""

from tercet.advisor.caching.candidate import CacheCandidate, Figures
from tercet.advisor.caching.decide import Decision, Option, decide
from tercet.advisor.caching.propose import propose, why_not

__all__ = ["CacheCandidate", "Decision", "Figures", "Option", "decide", "propose", "why_not"]
