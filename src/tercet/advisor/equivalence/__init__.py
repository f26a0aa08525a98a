"""Whether a question has one answer, and whether two ways of asking it are the same."""

from tercet.advisor.equivalence.check import check
from tercet.advisor.equivalence.determined import determined
from tercet.advisor.equivalence.edges.data import edge_data
from tercet.advisor.equivalence.postgres_live import check_on
from tercet.advisor.equivalence.verdict import Checked, Counterexample, Finding

__all__ = ["Checked", "Counterexample", "Finding", "check", "check_on", "determined", "edge_data"]
