"""Indexes that may help: equality, sort and range in their orders, covering, partial, for joins, and as a last resort."""

from tercet.advisor.mongo.candidates.candidate import Candidate, propose
from tercet.advisor.mongo.candidates.housekeeping import Drop, Usage, misspelled, redundant, unused

__all__ = ["Candidate", "Drop", "Usage", "misspelled", "propose", "redundant", "unused"]
