"""The statements of transaction.sql by their names."""

from __future__ import annotations

from importlib.resources import files


def _statements() -> dict[str, str]:
    written = files("tercet.changes.transaction").joinpath("transaction.sql").read_text(encoding="utf-8")
    _, *parts = written.split("-- name: ")
    named = (part.partition("\n") for part in parts)
    return {name.strip(): body.strip() for name, _, body in named}


STATEMENTS = _statements()
