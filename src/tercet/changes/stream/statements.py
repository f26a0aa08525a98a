"""The statements of slots.sql, by their names."""

from __future__ import annotations

from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def _read() -> Mapping[str, str]:
    written = files("tercet.changes.stream").joinpath("slots.sql").read_text(encoding="utf-8")
    _, *parts = written.split("-- name: ")
    named = (part.partition("\n") for part in parts)
    return MappingProxyType({name.strip(): body.strip() for name, _, body in named})


STATEMENTS = _read()
