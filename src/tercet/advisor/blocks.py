"""The statements of a .sql file by the names that stand above them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def blocks(package: str, file: str) -> Mapping[str, str]:
    """The named blocks of a file that lies in this package; a remark may stand above each."""
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    _, *found = text.split("-- name: ")
    named = (part.partition("\n") for part in found)
    return MappingProxyType({name.strip(): body.strip() for name, _, body in named})
