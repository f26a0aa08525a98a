"""An entity: a plain typed class whose fields live in several stores."""

from __future__ import annotations

import inspect
import sys
from dataclasses import MISSING, dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    TypeVar,
    dataclass_transform,
    get_origin,
    get_type_hints,
)
from urllib.parse import quote

from tercet.errors import EntityInvalid, UsageError
from tercet.router.edit import Edit, edited
from tercet.router.key import Key, KeyKind
from tercet.router.outcome import Meta
from tercet.router.plan import Plan, planned
from tercet.router.source import InDocument, InRedis, InTable, Refused, refuse

if TYPE_CHECKING:
    from tercet.telemetry.event import Store

# What stays as it is in a value of a tag; the cache escapes the rest, and so do we, to mean the same tag.
_TAG_SAFE = "@+,"

# Names that mean something else on every entity.
_TAKEN = frozenset({"key", "meta", "tags", "shapes", "edit"})

_NOT_LOADED = Meta()


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _Typed:
    """Tells type checkers that what is below is made like a dataclass."""

    # For the checkers, so that a field is neither compared nor hashed twice; everything else is in Entity.
    __slots__ = ()


@dataclass(frozen=True, kw_only=True, repr=False)
class Entity(_Typed):
    """What one thing is, wherever it is stored: `class Customer(Entity, key=int)` and its fields.

    A field is `name: type = postgres(…)`, `mongo(…)` or `redis.…(…)`. Whatever is wrong with it is raised as
    EntityInvalid where the class stands. Entities are frozen dataclasses with keywords: a test makes one as
    `Customer(key=42, name="Ann")`, where fields that may be None need not be said. Two are equal when their keys
    and values are; how they were loaded (`meta`) does not count.
    """

    key: Any
    meta: Meta = field(default=_NOT_LOADED, compare=False)

    __plan__: ClassVar[Plan]

    def __init_subclass__(cls, *, key: object = None, **others: object) -> None:
        """Read the declaration; raises EntityInvalid where it cannot be meant."""
        super().__init_subclass__(**others)
        inherited: Plan | None = getattr(cls, "__plan__", None)
        kind = _kind(cls.__name__, key, inherited)
        hints = _hints(cls, sys._getframe(1).f_locals)  # noqa: SLF001 - a class in a function refers to its names
        declared = {}
        for one in inherited.fields if inherited is not None else ():
            declared[one.name] = one.declared
            hints.setdefault(one.name, one.type | None if one.optional else one.type)
        for name in inspect.get_annotations(cls):
            if get_origin(hints[name]) is not ClassVar:
                declared[name] = _declared(cls, name)
        _check_unannotated(cls, declared)
        cls.__plan__ = planned(cls.__name__, kind, hints, declared)
        for one in cls.__plan__.fields:
            # What is inherited is a field already.
            if one.name in cls.__dict__:
                delattr(cls, one.name)
                setattr(cls, one.name, field(default=None if one.optional else MISSING, hash=False, kw_only=True))
        dataclass(frozen=True, kw_only=True, repr=False)(cls)

    def __repr__(self) -> str:
        """The key and how the sources have answered; no values, for an entity gets into logs and tracebacks."""
        return f"<{type(self).__name__} {self.key!r} ({self.meta})>"

    @classmethod
    def edit(cls, key: object, /, **values: object) -> Edit:
        """A change of these fields and no others, to be saved; raises UsageError for a name that it does not have."""
        return edited(cls.__plan__, key, values)

    @classmethod
    def tags(cls, key: object) -> tuple[str, ...]:
        """The tags under which a cached answer about this one is dropped, by the shapes that `shapes` gives."""
        written = quote(str(cls.__plan__.key.of(key)), safe=_TAG_SAFE, errors="surrogatepass")
        wide = any(_is_hard(one.declared) for one in cls.__plan__.sources)
        return (f"{_word(cls)}:{written}", *((f"{_word(cls)}-any",) if wide else ()))

    @classmethod
    def shapes(cls, store: Store = "postgres") -> dict[str, str]:
        """What to hand to `cache.follow` for the changes of this store: table or collection, and the tag of its row.

        A document that is found by a path inside of it falls to a tag of all; Redis tells no changes.
        """
        found = {}
        for source in cls.__plan__.sources:
            declared = source.declared
            if source.store == store and isinstance(declared, InTable):
                found[declared.place] = f"{_word(cls)}:{{{declared.key.name}}}"
            elif source.store == store and isinstance(declared, InDocument):
                hard = _is_hard(declared)
                found[declared.place] = f"{_word(cls)}-any" if hard else f"{_word(cls)}:{{{declared.on}}}"
        return found


E = TypeVar("E", bound=Entity)


class Maker(Generic[E]):
    """Makes entities out of values that were checked already, without checking them again."""

    __slots__ = ("_entity",)

    def __init__(self, entity: type[E]) -> None:
        self._entity = entity

    def made(self, key: Key, values: dict[str, object], meta: Meta) -> E:
        """The entity with these values."""
        entity = object.__new__(self._entity)
        entity.__dict__.update(values, key=key, meta=meta)
        return entity


def plan_of(entity: object) -> Plan:
    """The plan of an entity's class; raises UsageError for anything else."""
    if isinstance(entity, type) and issubclass(entity, Entity) and entity is not Entity:
        return entity.__plan__
    shown = entity.__name__ if isinstance(entity, type) else type(entity).__name__
    raise UsageError(f"{shown} is no entity.", "Give a class that is declared as class Customer(Entity, key=int).")


def _kind(name: str, key: object, inherited: Plan | None) -> KeyKind:
    if key is None:
        if inherited is None:
            raise EntityInvalid(name, reason="it has no key", mend=f"Write class {name}(Entity, key=int).")
        return KeyKind(inherited.key.type, name)
    kind = KeyKind.declared(key, name)
    if inherited is not None and inherited.key.type is not kind.type:
        reason = f"it inherits from one with key={inherited.key.type.__name__}"
        raise EntityInvalid(name, reason=reason, mend="An entity has one type of key.")
    return kind


def _hints(cls: type, names: dict[str, Any]) -> dict[str, Any]:
    # Its own annotations alone: what is inherited was understood where it stands, among other names.
    own = type(cls.__name__, (), {"__annotations__": inspect.get_annotations(cls), "__module__": cls.__module__})
    try:
        return get_type_hints(own, localns={**names, cls.__name__: cls})
    except NameError as error:
        raise EntityInvalid(
            cls.__name__,
            reason=f"the annotation {error.name!r} is not known where the class stands",
            mend="Define or import it above the class, and not under TYPE_CHECKING.",
        ) from error


def _declared(cls: type, name: str) -> InTable | InDocument | InRedis:
    what, found = f"{cls.__name__}.{name}", cls.__dict__.get(name)
    if name in _TAKEN or name.startswith("_"):
        raise EntityInvalid(what, reason="that name is taken", mend="Call the field otherwise.")
    if isinstance(found, Refused):
        raise refuse(what, found)
    if isinstance(found, InTable | InDocument | InRedis):
        return found
    raise EntityInvalid(
        what, reason="it says nowhere where it is", mend="Write postgres(…), mongo(…) or redis.hash(…) behind it."
    )


def _check_unannotated(cls: type, declared: dict[str, Any]) -> None:
    for name, value in cls.__dict__.items():
        if isinstance(value, InTable | InDocument | InRedis | Refused) and name not in declared:
            mend = f"Annotate it: {name}: str = …"
            raise EntityInvalid(f"{cls.__name__}.{name}", reason="it has no type", mend=mend)


def _word(cls: type) -> str:
    return cls.__name__.lower()


def _is_hard(declared: object) -> bool:
    return isinstance(declared, InDocument) and "." in declared.on


def whole(entity: Entity) -> Edit:
    """All that a save can write of an entity; raises UsageError for one of which something is not known."""
    plan = plan_of(type(entity))
    if entity.meta.degraded:
        names = ", ".join(one.source for one in entity.meta.sources if one.state in {"failed", "late", "stale"})
        raise UsageError(
            f"This {plan.entity} was loaded without {names}: saving it would write over what is there.",
            f"Save what has changed and nothing else: {plan.entity}.edit(key, …).",
        )
    return edited(plan, entity.key, {one.name: getattr(entity, one.name) for one in plan.fields if one.saved})
