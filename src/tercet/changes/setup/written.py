"""SQL that is written in files: its statements by their names."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def written(name: str) -> dict[str, str]:
    """The statements of a .sql file of these rooms ("setup/setup.sql"), each under its `-- name:`."""
    text = files("tercet.changes").joinpath(name).read_text(encoding="utf-8")
    _, *parts = text.split("-- name: ")
    named = (part.partition("\n") for part in parts)
    return {title.strip(): _bare(body) for title, _, body in named}


def _bare(body: str) -> str:
    """A statement without the comments that stand before it."""
    lines = body.strip().splitlines()
    first = next((number for number, line in enumerate(lines) if not line.startswith("--")), 0)
    return "\n".join(lines[first:])
