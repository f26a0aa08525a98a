"""The words: no name that says nothing, no place that only one machine has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

# Names under which everything could stand, so that nothing can be found.
EMPTY_NAMES = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}

# The only hosts that any file may name with a scheme: the licence's, a picture's namespace, and examples.
HOSTS = {"www.apache.org", "www.w3.org", "127.0.0.1", "localhost", "example.com"}

# Written so that no pattern matches its own text.
MACHINE = re.compile(r"(?<![\w.])/(?:work|home|Users|root|farm)/\w")
REGISTRY = re.compile(r"pypi[.]org|python[h]osted|(?<!emit-)index[-]url|find[-]links")
URL = re.compile(r"\bhttps?[:]//(?P<host>[\w.-]*)")

# The words of the licence are not ours.
NOT_OURS = {"LICENSE"}


class Source(Protocol):
    """What a test here needs of a source file."""

    name: str
    place: str


def _lines(tracked: Sequence[Path], root: Path) -> Iterator[tuple[str, str]]:
    """Each line of each tracked text file, with its place."""
    for path in tracked:
        name = path.relative_to(root).as_posix()
        if name not in NOT_OURS:
            text = path.read_text(encoding="utf-8", errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                yield f"{name}:{number}", line


def test_no_module_has_a_name_that_says_nothing(library: Sequence[Source], shop: Sequence[Source]) -> None:
    """A file is named after what it holds."""
    named = (*library, *shop)
    assert [source.place for source in named if EMPTY_NAMES & set(source.name.split("."))] == []


def test_no_file_names_a_path_of_one_machine(tracked: Sequence[Path], root: Path) -> None:
    """What is tracked means the same everywhere."""
    assert [f"{place} {line.strip()}" for place, line in _lines(tracked, root) if MACHINE.search(line)] == []


def test_no_file_names_a_registry_or_a_download(tracked: Sequence[Path], root: Path) -> None:
    """Where packages come from is the user's own setting; only a few hosts may be named at all."""
    named = [
        f"{place} {line.strip()}"
        for place, line in _lines(tracked, root)
        if REGISTRY.search(line) or any(host not in HOSTS for host in URL.findall(line))
    ]
    assert not named, "\n".join(named)


def test_the_lock_of_another_tool_is_not_tracked(tracked: Sequence[Path], root: Path) -> None:
    """requirements/ is the lock; a second one would name its index."""
    assert "uv.lock" not in {path.relative_to(root).as_posix() for path in tracked}
