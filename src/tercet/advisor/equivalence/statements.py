"""The statements of asked.sql, by name."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


def statement(name: str, **words: object) -> str:
    """The statement of this name with its braces filled in; what fills them is SQL already."""
    return _blocks()[name].format_map(words)


@cache
def _blocks() -> Mapping[str, str]:
    text = files(__package__).joinpath("asked.sql").read_text(encoding="utf-8")
    _, *parts = _NAMED.split(text)
    return MappingProxyType(
        {name: _COMMENT.sub("", body).strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}
    )
