"""What a session carries, to bytes and back: the same both ways, or refused while it is written."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from tercet.errors import SessionDataInvalid, SettingInvalid
from tercet.units import size, size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# It is read with every request of its user. Pictures and lists of orders belong into a table.
DATA_BYTES = "64kB"

# Redis would take more; a session of this size is a mistake.
DATA_BYTES_MAX = 16 << 20

_encoder = msgspec.msgpack.Encoder()


class Misfit(Exception):
    """These bytes hold no value of the type that is asked for."""


class Data(Generic[T]):
    """Writes and reads the data of sessions, of one type and up to one size."""

    __slots__ = ("_decode", "_default", "_largest", "_name", "_start")

    def __init__(self, kind: type[T], *, default: Callable[[], T] | None, largest: str | int) -> None:
        try:
            self._decode = msgspec.msgpack.Decoder(kind).decode
        except (TypeError, ValueError, NameError, AttributeError) as error:
            raise SettingInvalid(
                "type",
                where="Sessions",
                shown=_name(kind),
                wanted="a msgspec.Struct, a dataclass, a TypedDict or dict",
            ) from error
        self._name = _name(kind)
        self._default = default
        self._start: Callable[[], T] = default or kind
        self._largest = _largest(largest)
        if default is not None:
            # Found wrong here, and not in the middle of a request.
            self.encode(default())

    def start(self) -> T:
        """What a session begins with when nobody says; raises SessionDataInvalid where the type needs more."""
        try:
            return self._start()
        except TypeError as error:
            raise SessionDataInvalid(
                f"{self._name} cannot be made of nothing",
                mend="Pass data=…, or give its fields defaults, or Sessions a default=….",
            ) from error

    def encode(self, value: T) -> bytes:
        """The bytes; raises SessionDataInvalid for what is too large or would come back as something else."""
        try:
            body = _encoder.encode(value)
            returned = self._decode(body)
        except Exception as error:  # whatever a field's own code raises: it is told as what it means here
            raise SessionDataInvalid(
                f"a {_name(type(value))} could not be read back as {self._name}: {_clause(error)}",
                mend=f"Make it a {self._name} all the way down, of types that msgspec knows.",
            ) from error
        if len(body) > self._largest:
            raise SessionDataInvalid(
                f"it has {size(len(body))}, and {size(self._largest)} are allowed",
                mend="Keep ids in the session and the things in a table, or raise Sessions(data_max=…).",
            )
        strange = next(_strange(value, returned), None)
        if strange is not None:
            raise SessionDataInvalid(
                f"a {strange} in it would come back as something else",
                mend="Say its type with Sessions(type=…), or keep only what JSON knows.",
            )
        return body

    def decode(self, body: bytes) -> T:
        """The value; the default's for another shape where there is one, else raises Misfit."""
        try:
            return self._decode(body)
        except Exception as error:  # a release ago the type had other fields, or its own checks said otherwise
            if self._default is not None:
                return self._default()
            raise Misfit(type(error).__name__) from error


def _strange(one: object, other: object) -> Iterator[str]:
    """The types of the parts that did not come back as they went in."""
    if type(one) is not type(other):
        yield _name(type(one))
    elif isinstance(one, dict) and isinstance(other, dict):
        if len(one) != len(other):
            yield "dict"
        for (key, value), (back, returned) in zip(one.items(), other.items(), strict=False):
            yield from _strange(key, back)
            yield from _strange(value, returned)
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield _name(type(one))
        for value, returned in zip(one, other, strict=False):
            yield from _strange(value, returned)
    else:
        for name in _fields(one):
            yield from _strange(getattr(one, name, None), getattr(other, name, None))


def _fields(value: object) -> tuple[str, ...]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    return tuple(one.name for one in fields(value)) if is_dataclass(value) else ()


def _largest(given: str | int) -> int:
    wanted = f"a size such as '64kB', from 1 B to {size(DATA_BYTES_MAX)}"
    try:
        value = size_bytes(given)
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingInvalid("data_max", where="Sessions", shown=repr(given), wanted=wanted) from error
    if not 1 <= value <= DATA_BYTES_MAX:
        raise SettingInvalid("data_max", where="Sessions", shown=repr(given), wanted=wanted)
    return value


def _name(kind: object) -> str:
    return kind.__qualname__ if isinstance(kind, type) else repr(kind)


def _clause(error: BaseException) -> str:
    """What msgspec says, which names fields and types; of anything else the class alone, for it may quote values."""
    said = isinstance(error, msgspec.ValidationError)
    return str(error).partition("\n")[0].rstrip(".") if said else type(error).__name__
