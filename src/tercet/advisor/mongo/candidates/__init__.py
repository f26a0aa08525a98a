"""Indexes that may help (in all sensible orders, covering, partial, for joins), and those that need not be."""

from tercet.advisor.mongo.candidates.candidate import Candidate, propose
from tercet.advisor.mongo.candidates.housekeeping import Drop, Usage, misspelled, redundant, unused

__all__ = ["Candidate", "Drop", "Usage", "misspelled", "propose", "redundant", "unused"]
