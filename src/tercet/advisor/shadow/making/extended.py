"""Extended statistics in the form in which PostgreSQL 14 to 18 keep them: their types read no text.

What pg_stats_ext shows is exact for distinct combinations, and has six digits of a dependency's degree.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_NDISTINCT_MAGIC = 0xA352BFA4
_DEPENDENCIES_MAGIC = 0xB4549A2C
_BASIC = 1
_HEAD = struct.Struct("<III")


def ndistinct(text: str, numbers: Mapping[int, int]) -> bytes:
    """What {"2, 3": 200} is inside; `numbers` gives each column of production its number here."""
    found = msgspec.json.decode(text, type=dict[str, float])
    parts = [_HEAD.pack(_NDISTINCT_MAGIC, _BASIC, len(found))]
    for key, number in found.items():
        columns = _columns(key.split(","), numbers)
        parts.append(struct.pack(f"<di{len(columns)}h", number, len(columns), *columns))
    return b"".join(parts)


def dependencies(text: str, numbers: Mapping[int, int]) -> bytes:
    """What {"2 => 3": 1.0} is inside."""
    found = msgspec.json.decode(text, type=dict[str, float])
    parts = [_HEAD.pack(_DEPENDENCIES_MAGIC, _BASIC, len(found))]
    for key, degree in found.items():
        columns = _columns(key.replace("=>", ",").split(","), numbers)
        parts.append(struct.pack(f"<d{1 + len(columns)}h", degree, len(columns), *columns))
    return b"".join(parts)


def _columns(words: list[str], numbers: Mapping[int, int]) -> list[int]:
    """Numbers here; those below zero are expressions, which are counted as they are."""
    return [numbers.get(int(word), int(word)) for word in words]
