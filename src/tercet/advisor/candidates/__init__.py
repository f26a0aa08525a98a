"""The indexes that might help, thought of by the role that each column plays, and those that are there and do not."""

from tercet.advisor.candidates.before import doubles, extensions
from tercet.advisor.candidates.every import CANDIDATES
from tercet.advisor.candidates.finding import Finding
from tercet.advisor.candidates.housekeeping import housekeeping
from tercet.advisor.candidates.propose import propose

__all__ = ["CANDIDATES", "Finding", "doubles", "extensions", "housekeeping", "propose"]
