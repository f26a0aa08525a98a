"""What people see: results on the standard output, progress and errors on the standard error.

The only file that prints. Off a terminal there is no progress and no colour, so that results can be piped.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tercet.errors import TercetError

# Whoever reads a pipe has room, and columns in their places.
_PIPED_WIDTH = 120
_TONES = {"": "", "strong": "bold", "good": "green", "bad": "bold red", "faint": "dim"}


class Bars:
    """A progress display with a bar for each part of the work, in the order in which the parts are told."""

    __slots__ = ("_progress", "_tasks")

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def tell(self, part: str, done: int, total: int) -> None:
        """So much of this part is done; with a total of 0 nobody knows of how much, and the bar only moves."""
        if part not in self._tasks:
            self._tasks[part] = self._progress.add_task(part, total=None)
        self._progress.update(self._tasks[part], total=total or None, completed=done)


class Steps:
    """A progress display of parts that go on at once, each with what it is doing now."""

    __slots__ = ("_progress", "_tasks")

    def __init__(self, progress: Progress, parts: Sequence[str]) -> None:
        self._progress = progress
        self._tasks = {part: progress.add_task(part, total=1, note="") for part in parts}

    def tell(self, part: str, what: str, *, last: bool = False) -> None:
        """This part is doing that now, or has ended with it."""
        self._progress.update(self._tasks[part], note=what, completed=1 if last else 0)


class Screen:
    """A person's terminal, or whatever stands in its place."""

    __slots__ = ("_aside", "_out")

    def __init__(self) -> None:
        self._out = Console(highlight=False)
        self._aside = Console(stderr=True, highlight=False)

    def result(self, text: str) -> None:
        """A line for whoever reads the output, person or program; as it is, never folded."""
        self._out.print(Text(text), soft_wrap=True)

    @property
    def width(self) -> int:
        """How many characters a line has room for; off a terminal as many as one likes."""
        return self._out.width if self._out.is_terminal else _PIPED_WIDTH

    def lines(self, lines: Iterable[Iterable[tuple[str, str]]]) -> None:
        """Lines of several parts, each part with how it is meant: strong, good, bad, faint, or plain."""
        for line in lines:
            self._out.print(Text.assemble(*((text, _TONES[tone]) for text, tone in line)), soft_wrap=True)

    def aside(self, text: str) -> None:
        """A line for the person only."""
        self._aside.print(Text(text), soft_wrap=True)

    def error(self, error: TercetError) -> None:
        """What went wrong, in red, and how to mend it."""
        shown = Text(error.says, style="red")
        if error.mend:
            # What is listed line by line ends its last line itself.
            gap = "" if error.says.endswith("\n") else " "
            shown.append(f"{gap}{error.mend}", style="default")
        self._aside.print(shown, soft_wrap=True)

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        right: Sequence[int] = (),
        aside: bool = False,
    ) -> None:
        """Rows under a header, without lines; the columns numbered in `right` are figures.

        Nothing is cut: on a narrow terminal a row goes on in the next line, so an address can be copied.
        """
        console = self._aside if aside else self._out
        for number, line in enumerate(_aligned([header, *rows], right)):
            console.print(Text(line, style="" if number else "bold"), soft_wrap=True)

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """Bars for parts that come one after the other or at once, shown while the block runs."""
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._aside,
            disable=not self._aside.is_terminal,
        ) as progress:
            yield Bars(progress)

    @contextmanager
    def steps(self, *parts: str) -> Iterator[Steps]:
        """A line for each part that says what it is doing, shown while the block runs."""
        with Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:<9}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._aside,
            disable=not self._aside.is_terminal,
        ) as progress:
            yield Steps(progress, parts)


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int]) -> Iterator[str]:
    """The rows as lines, each column as wide as its widest cell on the screen."""
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if number in right else cell + space)
        yield "  ".join(cells).rstrip()
