"""An index of MongoDB as a value: its keys in their order, and its options as they are kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tercet.advisor.mongo.shape import Document, Keys

# What the server adds by itself, and what says nothing of the index.
_NOT_OPTIONS = frozenset({"v", "key", "name", "ns", "background"})
# With one of these an index does more than help queries: it is never advised away.
_DUTIES = ("unique", "expireAfterSeconds", "prepareUnique", "clustered")
# A name may have 127 bytes up to 4.0, and nobody reads a longer one.
_NAME_MAX = 120


@dataclass(frozen=True)
class MongoIndex:
    """`keys` are pairs of a field and 1, -1, "text", "hashed" and so on; `options` what createIndex takes beside."""

    collection: str
    keys: Keys
    options: Document
    name: str = ""
    # None where nobody has asked.
    size_bytes: int = 0

    @classmethod
    def of(cls, collection: str, told: Document) -> MongoIndex:
        """One as listIndexes tells it."""
        options = {key: value for key, value in told.items() if key not in _NOT_OPTIONS}
        return cls(collection, tuple(dict(told["key"]).items()), options, str(told["name"]))

    @property
    def fields(self) -> tuple[str, ...]:
        """Its fields in order."""
        return tuple(name for name, _ in self.keys)

    @property
    def called(self) -> str:
        """Its name, or the one that it will have."""
        if self.name:
            return self.name
        name = "_".join(f"{field}_{way}" for field, way in self.keys) + ("_partial" if self.partial else "")
        return name if len(name.encode()) <= _NAME_MAX else f"{name[: _NAME_MAX - 12]}_{abs(hash(self)) % 10**8:08}"

    @property
    def partial(self) -> Document | None:
        """Which documents alone it holds."""
        return self.options.get("partialFilterExpression")

    @property
    def plain(self) -> bool:
        """Whether it holds every document, by values in their order, and is seen by the planner."""
        return not ({"sparse", "hidden", "wildcardProjection"} & {key for key, on in self.options.items() if on}) and (
            self.partial is None and all(way in {1, -1} and "$**" not in name for name, way in self.keys)
        )

    @property
    def dutiful(self) -> bool:
        """Whether it does more than help queries: uniqueness, expiry, the documents' own order."""
        if self.fields == ("_id",):
            return True
        return any(self.options.get(name) not in {None, False} for name in _DUTIES)

    @property
    def collation(self) -> str:
        """Its collation as text that can be compared; "" for the plain comparison of bytes."""
        told = self.options.get("collation")
        return "" if told is None else json.dumps(dict(told), sort_keys=True, default=str)

    def begins(self, longer: MongoIndex) -> bool:
        """Whether every walk through this one can be had from the longer one: same way, or all turned round."""
        head = longer.keys[: len(self.keys)]
        turned = tuple((name, -way) for name, way in self.keys) if self.plain else ()
        return len(longer.keys) > len(self.keys) and head in {self.keys, turned} and self.collation == longer.collation

    def same(self, other: MongoIndex) -> bool:
        """Whether both hold the same documents in the same order."""
        return (self.collection, self.keys, self.collation, _text(self.partial)) == (
            other.collection, other.keys, other.collation, _text(other.partial),
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.collection, self.keys, self.collation, _text(self.partial)))

    def shown(self) -> tuple[str, ...]:
        """Its keys for people: "created_at desc"."""
        return tuple(name if way == 1 else f"{name} desc" if way == -1 else f"{name} {way}" for name, way in self.keys)


def _text(value: Any) -> str:
    return "" if value is None else json.dumps(value, sort_keys=True, default=str)
