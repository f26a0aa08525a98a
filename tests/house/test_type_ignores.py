"""The exceptions: few, and each with its reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

# One line in a thousand may be beyond the type checkers; more would be a habit.
LINES_PER_IGNORE = 1000

_IGNORE = re.compile(r"#\s*(?:type|pyright):\s*ignore")
# Written as `type: ignore[code]  # because …` or `noqa: CODE - because …`, with two words at least.
_REASONED = re.compile(r"ignore\[[\w,-]+\]\s*#\s*\w+( \S+)+|noqa: [A-Z0-9, ]+ - \w+( \S+)+")
_SILENCED = re.compile(r"#\s*(?:(?:type|pyright):\s*ignore|noqa)")


class Source(Protocol):
    """What a test here needs of a source file."""

    place: str
    text: str


def test_hardly_a_line_is_hidden_from_the_type_checkers(
    library: Sequence[Source], shop: Sequence[Source]
) -> None:
    """At most one line in a thousand."""
    lines = sum(source.text.count("\n") for source in (*library, *shop))
    ignores = sum(len(_IGNORE.findall(source.text)) for source in (*library, *shop))
    assert ignores * LINES_PER_IGNORE <= lines


def test_every_exception_from_a_rule_has_its_reason_beside_it(
    library: Sequence[Source], shop: Sequence[Source], tests: Sequence[Source]
) -> None:
    """Whoever silences a checker says why, on the same line."""
    unreasoned = [
        f"{source.place}:{number} {line.strip()}"
        for source in (*library, *shop, *tests)
        for number, line in enumerate(source.text.splitlines(), 1)
        if _SILENCED.search(line) and not _REASONED.search(line)
    ]
    assert unreasoned == []
