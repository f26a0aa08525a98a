"""The key of an entity: one scalar of a type that was declared, whatever a request brings."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from tercet.errors import EntityInvalid, UsageError

# What a store is asked for.
Key: TypeAlias = Hashable

# How a store's own key is made of an entity's.
Conversion: TypeAlias = Callable[[Any], Any]

# The numbers that PostgreSQL and MongoDB have.
_INT_LEAST, _INT_MOST = -(1 << 63), (1 << 63) - 1

# A number written with more characters is none that a store has; Python itself refuses much longer ones.
_DIGITS_MAX = 40


@dataclass(frozen=True, slots=True)
class KeyKind:
    """The type of an entity's keys: int, str, UUID or MongoDB's ObjectId."""

    type: type[Any]
    entity: str

    @classmethod
    def declared(cls, kind: object, entity: str) -> KeyKind:
        """The kind that stands behind `key=`; raises EntityInvalid for another one."""
        if isinstance(kind, type) and (kind in {int, str, UUID} or is_object_id(kind)):
            return cls(kind, entity)
        shown = getattr(kind, "__name__", repr(kind))
        raise EntityInvalid(
            entity,
            reason=f"its key is declared as {shown}",
            mend="A key is one value: key=int, str, UUID or ObjectId; a key of several columns is not supported.",
        )

    def of(self, value: object) -> Key:
        """The key that is meant; raises UsageError for a value of another kind, such as a dict out of a request."""
        kind = self.type
        if kind is int:
            return self._number(value)
        if isinstance(value, kind):
            return str.__str__(value) if isinstance(value, str) else value
        if isinstance(value, str) and kind is not str:
            try:
                made: Key = kind(value)
            except Exception as error:
                # ObjectId raises an error of its driver's, which no file here knows.
                raise self._refused(value) from error
            return made
        raise self._refused(value)

    def _number(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return int(value)
        if isinstance(value, str) and len(value) <= _DIGITS_MAX:
            digits = value.removeprefix("-")
            if digits.isascii() and digits.isdecimal():
                return int(value)
        raise self._refused(value)

    def _refused(self, value: object) -> UsageError:
        # The value itself stays out of the text: it came from a request.
        return UsageError(
            f"A key of {self.entity} was given as a {type(value).__name__} that is no {self.type.__name__}.",
            f"Give it one {self.type.__name__}; {self.entity} is declared with key={self.type.__name__}.",
        )


def is_object_id(kind: object) -> bool:
    """Whether this is MongoDB's ObjectId, which is told by its name: no driver is loaded for it."""
    return isinstance(kind, type) and kind.__name__ == "ObjectId" and kind.__module__.partition(".")[0] == "bson"


def possible(key: Key) -> bool:
    """Whether a store can have this key at all: one that cannot be asked for is missing, and disturbs no other."""
    if isinstance(key, int):
        return _INT_LEAST <= key <= _INT_MOST
    if isinstance(key, str):
        try:
            return b"\0" not in key.encode()
        except UnicodeEncodeError:
            return False
    return True


def converted(conversion: Conversion | None, key: Key, *, source: str) -> Key:
    """The store's own key; raises UsageError where the conversion makes no scalar of it."""
    if conversion is None:
        return key
    made = conversion(key)
    if isinstance(made, int | str | UUID | bytes) or is_object_id(type(made)):
        return made if not isinstance(made, bool) else int(made)
    raise UsageError(
        f"The key for {source} was converted to a {type(made).__name__}.",
        "A conversion returns one int, str, bytes, UUID or ObjectId: what a request brings never becomes an operator.",
    )


def text(key: Key) -> str:
    """The key as it stands in the name of a key of Redis."""
    return key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)
