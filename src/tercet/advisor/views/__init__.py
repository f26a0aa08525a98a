"""Materialized views that answer several statements at once, each by a query that asks the same question."""

from tercet.advisor.views.candidate import Answer, Gain, ViewCandidate
from tercet.advisor.views.gain import gain
from tercet.advisor.views.policy import Policy, policy
from tercet.advisor.views.propose import propose, why_not

__all__ = ["Answer", "Gain", "Policy", "ViewCandidate", "gain", "policy", "propose", "why_not"]
