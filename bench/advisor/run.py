"""Measures every part of the advisor, each in a process and with servers of its own, and keeps the answers in one file.

.venv-bench/bin/python bench/advisor/run.py [--quick] [--scale 1] [--sources wheel,path] [--results DIR] [shadow tpch …]

Of parts that are not asked again, today's answers stay.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Where what all benchmarks share lies.
sys.path.append(str(Path(__file__).parents[1]))

import report
from asking import Asking, script

HERE = Path(__file__).parent

# In the order of the tables.
PARTS = ("shadow", "tpch", "reference", "planted", "production", "kept", "mongo")
# A part that takes longer than this hangs; TPC-H at its full size takes the longest.
LIMIT_SECONDS = 3 * 3_600


def main() -> None:
    """Measure, write, and say which goals are met."""
    options = _options()
    size = ["--sources", options.sources, *(["--quick"] if options.quick else ["--scale", str(options.scale)])]
    # The goals are meant at scale 1: of any other size nothing is shown.
    tiny = bool(options.quick or options.scale != 1.0)
    asking = Asking(report.REPORT, PARTS, lambda name: script(HERE / f"{name}.py", size, LIMIT_SECONDS), quick=tiny)
    asking.run(options.parts, options.results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the size of the goals")
    parser.add_argument("--results", type=Path, default=HERE.parent / "results", help="the folder for the file")
    parser.add_argument("--sources", default="wheel,path", help="whose PostgreSQL: wheel, path")
    parser.add_argument("parts", nargs="*", metavar="PART", help="these parts; none: all of them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
