"""The statements of a .sql file by the names that stand above them."""

from __future__ import annotations

from importlib.resources import files


def blocks(package: str, file: str) -> dict[str, str]:
    """The named blocks of a file that lies in this package."""
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    _, *found = text.split("-- name: ")
    named = (part.partition("\n") for part in found)
    return {name.strip(): body.strip() for name, _, body in named}
