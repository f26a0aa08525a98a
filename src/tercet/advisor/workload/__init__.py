"""What is asked of a database: taken from its own statistics, its logs, files, or a running program."""

from tercet.advisor.workload.asked import MARK, Asked
from tercet.advisor.workload.folding import SHARE, TOP, Folding
from tercet.advisor.workload.script import from_files, from_text
from tercet.advisor.workload.statistics import from_statistics

__all__ = ["MARK", "SHARE", "TOP", "Asked", "Folding", "from_files", "from_statistics", "from_text"]
