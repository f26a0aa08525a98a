"""SQL that is written in files: its statements by their names."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def written(name: str) -> dict[str, str]:
    """The statements of a .sql file of this room ("setup/setup.sql"), each under its `-- name:`."""
    text = files("tercet.changes").joinpath(name).read_text(encoding="utf-8")
    _, *parts = text.split("-- name: ")
    named = (part.partition("\n") for part in parts)
    return {title.strip(): body.strip() for title, _, body in named}
