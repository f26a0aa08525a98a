"""The advice as it is kept between two commands, so that what is saved or applied is exactly what was shown."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tercet.advisor.advice import (
    Advice,
    CachePolicy,
    Engine,
    MongoChange,
    Piece,
    Proof,
    Rejected,
    Rewrite,
    StatementAdvice,
)
from tercet.advisor.views.policy import Policy
from tercet.errors import DocumentInvalid
from tercet.sql import Buffers, Expression, Index, Key, Node, Plan, Trigger, View

if TYPE_CHECKING:
    from collections.abc import Mapping

# Another number means that an older or newer tercet has written it.
_FORM = 1
_KIND = "is"
# Whatever advice is made of.
_VALUES: tuple[type[Any], ...] = (
    Advice, Buffers, CachePolicy, Engine, Expression, Index, Key, MongoChange, Node, Piece, Plan, Policy, Proof,
    Rejected, Rewrite, StatementAdvice, Trigger, View,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """Advice with what tells whether it still holds. No password is in it: `place` is the address without one."""

    advice: Advice
    place: str
    # Seconds since the epoch.
    made_at: float
    # What `schema_digest` said of the database then.
    schema: str = ""
    # What `table_digests` said then: of each table's columns, and of its indexes.
    tables: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As JSON."""
        told = {
            "form": _FORM,
            "place": self.place,
            "made_at": self.made_at,
            "schema": self.schema,
            "tables": self.tables,
        }
        return msgspec.json.encode({**told, "advice": _frozen(self.advice)})

    @classmethod
    def from_bytes(cls, text: bytes) -> Kept:
        """What `to_bytes` has written. Raises DocumentInvalid for anything else."""
        mend = "Ask for advice once more: tercet advise"
        try:
            told = msgspec.json.decode(text)
            if told["form"] != _FORM:
                raise DocumentInvalid("the advice kept here", reason="another version of tercet wrote it", mend=mend)
            advice = _thawed(told["advice"], {kind.__name__: kind for kind in _VALUES})
            # An older one knows only whether anything at all has changed.
            tables = {name: (columns, indexes) for name, (columns, indexes) in told.get("tables", {}).items()}
            return cls(advice, told["place"], told["made_at"], told["schema"], tables)
        except (msgspec.DecodeError, UnicodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DocumentInvalid("the advice kept here", reason="it is broken", mend=mend) from error


def _frozen(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        # What is computed when a value is made is not given to it.
        parts = {part.name: _frozen(getattr(value, part.name)) for part in fields(value) if part.init}
        return {_KIND: type(value).__name__, **parts}
    if isinstance(value, tuple | list):
        return [_frozen(one) for one in value]
    return value


def _thawed(value: Any, kinds: Mapping[str, type[Any]]) -> Any:
    if isinstance(value, list):
        return tuple(_thawed(one, kinds) for one in value)
    if isinstance(value, dict):
        parts = {name: _thawed(part, kinds) for name, part in value.items() if name != _KIND}
        return kinds[value[_KIND]](**parts)
    return value
