"""The sizes: what one sitting can read."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

# What the best codebases that we have measured keep to.
FILE_LINES = 400
FUNCTION_LINES = 50
ROOM_FILES = 12

# Folders with one small file a thing, where the number is the richness and not the size.
SHELVES = (
    "tercet.advisor.rewrites.rules",
    "tercet.advisor.candidates.kinds",
    "tercet.cli",
    "tercet.lint.rules",
    "tercet.migrations.ops",
)


class Source(Protocol):
    """What a test here needs of a source file."""

    path: Path
    name: str
    place: str
    text: str
    tree: ast.Module


def _long_functions(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                said = node.body[0]
                lines -= (said.end_lineno or said.lineno) - said.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{source.place}:{node.lineno} {node.name} has {lines} lines"


def test_no_file_is_longer_than_one_sitting(library: Sequence[Source], shop: Sequence[Source]) -> None:
    """A file that grows beyond this holds two things."""
    long = [
        f"{source.place} has {lines} lines"
        for source in (*library, *shop)
        if (lines := source.text.count("\n")) > FILE_LINES
    ]
    assert not long, "\n".join(long)


def test_no_function_is_longer_than_a_screen(library: Sequence[Source], shop: Sequence[Source]) -> None:
    """Its docstring aside, a function can be seen as a whole."""
    assert [long for source in (*library, *shop) for long in _long_functions(source)] == []


def test_no_room_has_more_files_than_can_be_kept_in_mind(library: Sequence[Source]) -> None:
    """The door aside, a room holds a dozen files at most; shelves are exempt."""
    rooms = Counter(source.name.rpartition(".")[0] for source in library if source.path.stem != "__init__")
    assert {room: files for room, files in rooms.items() if files > ROOM_FILES and room not in SHELVES} == {}
