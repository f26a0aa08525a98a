"""Every claim carries a measurement: samples, the rows they answered, verdicts, and the ladder."""

from tercet.proof.ladder import Ladder, Rung, Table
from tercet.proof.machine import Machine, describe_machine
from tercet.proof.rows import checksum, row_checksums
from tercet.proof.sample import Sample, Stopwatch, Timing, sample
from tercet.proof.verdict import Verdict, compare

__all__ = [
    "Ladder",
    "Machine",
    "Rung",
    "Sample",
    "Stopwatch",
    "Table",
    "Timing",
    "Verdict",
    "checksum",
    "compare",
    "describe_machine",
    "row_checksums",
    "sample",
]
