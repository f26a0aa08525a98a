"""The statements of a .sql file of this room, by their names."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def blocks(room: str, file: str) -> Mapping[str, str]:
    """What stands under each `-- name:` of the file; braces in it are the caller's to fill in."""
    text = files(room).joinpath(file).read_text(encoding="utf-8")
    _, *parts = text.split("-- name: ")
    named = (part.partition("\n") for part in parts)
    return {name.strip(): body.strip() for name, _, body in named}
