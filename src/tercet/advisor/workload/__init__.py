"""What is asked of a database: taken from its own statistics, its logs, files, or a running program.

`Recorder`, which listens to a running program, is loaded when it is touched, for it needs SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tercet.advisor.marked import MARK
from tercet.advisor.workload.asked import Asked
from tercet.advisor.workload.classes import examples
from tercet.advisor.workload.folding import SHARE, TOP, Folding
from tercet.advisor.workload.given import from_statements
from tercet.advisor.workload.logs import from_log
from tercet.advisor.workload.script import from_files, from_text
from tercet.advisor.workload.statistics import from_statistics
from tercet.advisor.workload.typed import parameter_types, with_values

if TYPE_CHECKING:
    from tercet.advisor.workload.postgres_recorder import Recorder

__all__ = [
    "MARK",
    "SHARE",
    "TOP",
    "Asked",
    "Folding",
    "Recorder",
    "examples",
    "from_files",
    "from_log",
    "from_statements",
    "from_statistics",
    "from_text",
    "parameter_types",
    "with_values",
]


def __getattr__(name: str) -> object:
    if name != "Recorder":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("tercet.advisor.workload.postgres_recorder"), name)
