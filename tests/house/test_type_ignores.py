"""The exceptions: few, and each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

# One line in a thousand may be beyond the type checkers; more would be a habit.
LINES_PER_IGNORE = 1000

_IGNORE = re.compile(r"#\s*(?:type|pyright):\s*ignore")
# Written as `type: ignore[code]  # because …` or `noqa: CODE - because …`, or behind another comment.
_REASONED = re.compile(
    r"ignore\[[\w,-]+\]\s*#\s*\S+( \S+)+|noqa: [A-Z0-9, ]+ - \S+( \S+)+|#\s*\S+( \S+)+\s*#\s*(noqa|type:)"
)
_SILENCED = re.compile(r"#\s*(?:(?:type|pyright):\s*ignore|noqa)")


class Source(Protocol):
    """What a test here needs of a source file."""

    place: str
    text: str


def _lines(source: Source) -> Iterator[tuple[int, str, str]]:
    """Each line with its number and the line above it."""
    lines = source.text.splitlines()
    for number, (above, line) in enumerate(zip(["", *lines], lines, strict=False), 1):
        yield number, above.strip(), line


def test_hardly_a_line_is_hidden_from_the_type_checkers(library: Sequence[Source], shop: Sequence[Source]) -> None:
    """At most one line in a thousand."""
    lines = sum(source.text.count("\n") for source in (*library, *shop))
    ignores = sum(len(_IGNORE.findall(source.text)) for source in (*library, *shop))
    assert ignores * LINES_PER_IGNORE <= lines


def test_every_exception_from_a_rule_has_its_reason_beside_it(
    library: Sequence[Source], shop: Sequence[Source], tests: Sequence[Source]
) -> None:
    """Whoever silences a checker says why, on the same line or in a comment above it."""
    unreasoned = [
        f"{source.place}:{number} {line.strip()}"
        for source in (*library, *shop, *tests)
        for number, above, line in _lines(source)
        if _SILENCED.search(line) and not _REASONED.search(line) and not above.startswith("#")
    ]
    assert not unreasoned, "\n".join(unreasoned)
