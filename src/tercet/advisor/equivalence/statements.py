"""The statements of asked.sql, by name."""

from __future__ import annotations

from tercet.advisor.blocks import blocks


def statement(name: str, **words: object) -> str:
    """The statement of this name with its braces filled in; what fills them is SQL already."""
    return blocks("tercet.advisor.equivalence", "asked.sql")[name].format_map(words)
