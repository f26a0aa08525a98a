"""Values to keys: full, readable, typed; equal for equal values and for no others."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Longer keys cost Redis more memory than most values; up to here a person can still read one.
KEY_CHARS_MAX = 400
# What stays readable of a longer one: the function and its first arguments.
PREFIX_CHARS = 120
# blake2b-256: no two keys share a digest, and it works where md5 is switched off.
DIGEST_BYTES = 32


class Key(msgspec.Struct, frozen=True):
    """The name of one entry; `full` is the whole key where `name` had to be shortened, or empty."""

    name: str
    full: str = ""


def key_of(space: str, text: str) -> Key:
    """The key of `text` in `space`, a lower-case letter; a shortened name has it in upper case."""
    name = f"{space}:{text}"
    if len(name) <= KEY_CHARS_MAX:
        return Key(name)
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    return Key(f"{space.upper()}:{text[:PREFIX_CHARS]}#{digest}", name)


def encode(value: object) -> str:
    """A text for a value that no other value of any type has; raises TypeError for what has none.

    Texts are preceded by their length, so nothing inside one can look like a delimiter.
    """
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, Enum):
        return f"e{_sized(f'{class_name(type(value))}.{value.name}')}"
    if isinstance(value, PurePath):
        return f"P{_sized(f'{type(value).__name__}:{value}')}"
    names = _frozen_fields(value)
    if names is None:
        raise TypeError(class_name(type(value)))
    inside = ",".join(encode(getattr(value, name)) for name in names)
    return f"o{_sized(class_name(type(value)))}({inside})"


def _sized(text: str) -> str:
    return f"{len(text)}:{text}"


def _moment(value: datetime) -> str:
    zone = "" if value.tzinfo is None else f"@{_sized(str(value.tzinfo))}"
    return f"t{value.isoformat()}{'~' if value.fold else ''}{zone}"


def _hour(value: time) -> str:
    zone = "" if value.tzinfo is None else f"@{_sized(str(value.tzinfo))}"
    return f"h{value.isoformat()}{'~' if value.fold else ''}{zone}"


def _several(value: tuple[object, ...]) -> str:
    return f"({','.join(map(encode, value))})"


def _members(value: frozenset[object]) -> str:
    return f"<{','.join(sorted(map(encode, value)))}>"


_WRITERS: Mapping[type, Callable[[Any], str]] = MappingProxyType(
    {
        type(None): lambda _: "n",
        bool: lambda value: "b1" if value else "b0",
        int: lambda value: f"i{value}",
        # 0.0 and -0.0 are one number to Python, and so one call.
        float: lambda value: f"f{value + 0.0!r}",
        str: lambda value: f"s{len(value)}:{value}",
        bytes: lambda value: f"x{value.hex()}",
        Decimal: lambda value: f"d{value}",
        UUID: lambda value: f"u{value.hex}",
        date: lambda value: f"D{value.isoformat()}",
        datetime: _moment,
        time: _hour,
        timedelta: lambda value: f"p{value.days}.{value.seconds}.{value.microseconds}",
        tuple: _several,
        frozenset: _members,
    },
)


def _frozen_fields(value: object) -> tuple[str, ...] | None:
    struct = getattr(type(value), "__struct_config__", None)
    if struct is not None:
        return tuple(cast("Any", value).__struct_fields__) if struct.frozen else None
    if is_dataclass(value) and not isinstance(value, type):
        frozen = cast("Any", value).__dataclass_params__.frozen
        return tuple(field.name for field in fields(value)) if frozen else None
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return tuple(cast("Any", value)._fields)
    return None


def class_name(kind: type) -> str:
    """What a class is called in keys and sentences: with its module, but for Python's own."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def identity(function: Callable[..., object], *, name: str | None, version: str | int | None) -> str:
    """What a function's keys begin with: its module and name, or a name it was given, and its version."""
    said = name or f"{_module(function)}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    return said if version is None else f"{said}@{version}"


def _module(function: Callable[..., object]) -> str:
    """The module of a function; that of a script is called after its file, not `__main__` as all are."""
    module = getattr(function, "__module__", None) or "?"
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    return spec.name if spec is not None else PurePath(getattr(main, "__file__", None) or "__main__").stem
