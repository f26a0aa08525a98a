"""What a save tells the stores that are not PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from tercet.changes.outbox import Event
from tercet.errors import UsageError
from tercet.router.key import is_object_id
from tercet.router.source import InDocument, InRedis

if TYPE_CHECKING:
    from tercet.router.edit import Edit
    from tercet.router.key import Key
    from tercet.router.plan import Field, Plan

# What a document of MongoDB keeps as it is.
_KEPT = (datetime, UUID, bytes, Decimal)


class EntitySaved(Event, key="thing", name_as="tercet.EntitySaved", frozen=True):
    """Some fields of an entity were saved; it commits with the rows, and is applied to MongoDB and Redis afterwards."""

    # Entity and key as one text: events of one thing are handled in their order.
    thing: str
    entity: str
    key: Any
    # Grows with each save of one thing: the position of the log while its row was locked.
    version: int
    values: dict[str, Any]

    def __repr__(self) -> str:
        """What was saved and when, and no values, for an event gets into logs."""
        return f"<EntitySaved {self.thing} at {self.version}: {', '.join(self.values)}>"


def told(edit: Edit, version: int) -> EntitySaved | None:
    """The event of an edit, with what PostgreSQL does not keep itself; None where there is nothing of the kind."""
    values = {}
    for name, value in edit.values.items():
        field = edit.plan.field(name)
        if field is not None and field.declared.store != "postgres":
            values[name] = msgspec.to_builtins(value, enc_hook=_text)
    if not values:
        return None
    key = msgspec.to_builtins(edit.key, enc_hook=_text)
    return EntitySaved(f"{edit.plan.entity}:{key}", edit.plan.entity, key, version, values)


def checked(edit: Edit) -> None:
    """Raise UsageError for what could not be written to its store, before anything is."""
    for name, value in edit.values.items():
        field = edit.plan.field(name)
        if field is None or value is None:
            continue
        if isinstance(field.declared, InDocument):
            if field.declared.field is None and field.names is None:
                raise UsageError(
                    f"{field.label} takes a document as it is, so nobody knows which of it a save replaces.",
                    "Give the field a Struct as its type, or name a path: mongo(…, field='address').",
                )
            check_names(msgspec.to_builtins(value, enc_hook=_text), field.label)
        elif isinstance(field.declared, InRedis) and field.declared.kind == "hash":
            hash_texts(field, value)


def check_names(value: object, what: str) -> None:
    """Raise UsageError for a document with a name that MongoDB could take for an operator or a path."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if not isinstance(name, str) or name.startswith("$") or "." in name or "\0" in name or not name:
                raise UsageError(
                    f"{what} has a name that MongoDB could take for an operator or a path.",
                    "Names in it are texts without '.', and do not begin with '$'.",
                )
            check_names(one, what)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            check_names(one, what)


def document_value(value: Any) -> Any:
    """A value as a document keeps it: times stay times."""
    return msgspec.to_builtins(value, builtin_types=_KEPT, enc_hook=_text) if value is not None else None


def hash_texts(field: Field, value: Any) -> dict[str, str]:
    """The fields of a hash and their texts; raises UsageError for what is nested."""
    declared = field.declared
    if isinstance(declared, InRedis) and declared.field is not None:
        return {declared.field: redis_text(field, value)}
    whole = msgspec.to_builtins(value, str_keys=True, enc_hook=_text)
    if not isinstance(whole, dict):
        raise UsageError(f"{field.label} is no hash.", "Give the field a Struct or a dict as its type.")
    return {name: redis_text(field, one) for name, one in whole.items() if one is not None}


def redis_text(field: Field, value: Any) -> str:
    """A single value as text; raises UsageError for what has parts."""
    plain = msgspec.to_builtins(value, enc_hook=_text)
    if isinstance(plain, dict | list):
        raise UsageError(f"{field.label} has parts, and Redis keeps one text there.", "Use redis.json(…) for it.")
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return str(plain)


def again(plan: Plan, event: EntitySaved) -> tuple[Key, dict[Field, Any]]:
    """The key and the values of an event, in their types; a field that is not declared any more is passed over."""
    values: dict[Field, Any] = {}
    for name, raw in event.values.items():
        field = plan.field(name)
        if field is not None and field.saved and field.declared.store != "postgres":
            values[field] = field.checked(raw)
    return plan.key.of(event.key), values


def _text(value: object) -> object:
    if is_object_id(type(value)):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be saved")
