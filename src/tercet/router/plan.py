"""The plan of an entity: which fields come from which source, one query a source, and what makes their values."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union, cast, get_args, get_origin, is_typeddict

import msgspec

from tercet.errors import EntityInvalid, FieldMismatch, UsageError
from tercet.router.key import KeyKind, converted, is_object_id
from tercet.router.source import NOT_SAVED, Declared, InRedis, InTable

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from tercet.router.key import Conversion, Key
    from tercet.telemetry.event import Store

# Quoted parts of a message are values, of which nobody knows how secret they are; names stand in backquotes.
_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"")

# Types whose instances are taken as they come; a bool is an int to isinstance, so these are compared exactly.
_EXACT = frozenset({str, int, float, bool, bytes})


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field of an entity: its name, its type without None, and where it lives."""

    entity: str
    name: str
    type: Any
    optional: bool
    declared: Declared
    # The names that a Struct, dataclass or TypedDict has when it is written; None for any other type.
    names: tuple[str, ...] | None
    # Whether instances of the type are taken as they are.
    direct: bool
    # The type of the entity's keys.
    key: type[Any]

    @property
    def label(self) -> str:
        """As people write it."""
        return f"{self.entity}.{self.name}"

    @property
    def saved(self) -> bool:
        """Whether a save writes it."""
        return not (isinstance(self.declared, InRedis) and self.declared.kind in NOT_SAVED)

    def value(self, raw: object, source: str) -> Any:
        """The value in the field's type; raises FieldMismatch for what cannot be one."""
        kind = self.type
        if raw is None:
            if self.optional:
                return None
            raise FieldMismatch(self.declared.store, field=self.label, source=source, reason="it is empty there")
        if type(raw) is kind or kind is Any or kind is object:
            return raw
        if self.direct and isinstance(raw, kind):
            return raw
        try:
            return self._converted(raw)
        except (msgspec.ValidationError, msgspec.DecodeError, OverflowError) as error:
            reason = _VALUE.sub("…", str(error))
            raise FieldMismatch(self.declared.store, field=self.label, source=source, reason=reason) from None

    def lax(self, raw: object) -> Any:
        """The value of what was told as text or as itself; raises FieldMismatch for what cannot be one."""
        if type(raw) is self.type:
            return raw
        try:
            return msgspec.convert(raw, self.type, strict=False, dec_hook=_made)
        except (msgspec.ValidationError, OverflowError) as error:
            reason = _VALUE.sub("…", str(error))
            raise FieldMismatch("postgres", field=self.label, source="a change", reason=reason) from None

    def checked(self, value: object) -> Any:
        """A value that is to be saved, in the field's type; raises UsageError for another one."""
        if value is None and self.optional:
            return None
        try:
            return msgspec.convert(value, self.type, dec_hook=_made)
        except (msgspec.ValidationError, OverflowError) as error:
            reason = _VALUE.sub("…", str(error))
            raise UsageError(f"{self.label} cannot become that: {reason}.", "Give it a value of its type.") from None

    def _converted(self, raw: object) -> Any:
        declared = self.declared
        if not isinstance(declared, InRedis):
            return msgspec.convert(raw, self.type, dec_hook=_made)
        if declared.kind == "json":
            return msgspec.json.decode(cast("bytes", raw), type=self.type, dec_hook=_made)
        if self.type is bytes:
            return raw
        return msgspec.convert(_texts(raw), self.type, strict=False, dec_hook=_made)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What is read by one query: its fields, and whether the entity can do without."""

    name: str
    store: Store
    declared: Declared
    fields: tuple[Field, ...]
    required: bool
    stale: float | None

    @property
    def conversion(self) -> Conversion | None:
        """How this store's key is made of the entity's."""
        return self.declared.conversion

    def key_of(self, key: Key) -> Key:
        """The key by which the store knows it."""
        return converted(self.conversion, key, source=self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields' names."""
        return tuple(field.name for field in self.fields)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All of an entity that its declaration says."""

    entity: str
    key: KeyKind
    fields: tuple[Field, ...]
    sources: tuple[Source, ...]

    def field(self, name: str) -> Field | None:
        """The field of that name."""
        return next((one for one in self.fields if one.name == name), None)

    def source_of(self, field: Field) -> Source:
        """Where a field comes from."""
        return next(one for one in self.sources if field in one.fields)

    @property
    def anchor(self) -> Source | None:
        """The table in which an entity of this kind begins: the first one that it cannot do without, or the first."""
        tables = [one for one in self.sources if one.store == "postgres"]
        return next((one for one in tables if one.required), tables[0] if tables else None)


def planned(entity: str, key: KeyKind, hints: Mapping[str, Any], declared: Mapping[str, Declared]) -> Plan:
    """The plan of these declarations; raises EntityInvalid for what could not be read so."""
    fields = tuple(_field(entity, key, name, hints[name], one) for name, one in declared.items())
    if not fields:
        raise EntityInvalid(entity, reason="it has no fields", mend="Declare one: name: str = postgres(User.name).")
    places: dict[Hashable, Field] = {}
    groups: dict[Hashable, list[Field]] = {}
    for field in fields:
        group = field.declared.group
        twin = places.setdefault((group, field.declared.part), field)
        if twin is not field:
            raise EntityInvalid(
                field.label, reason=f"{twin.name} is declared at the same place", mend="Keep one of the two."
            )
        groups.setdefault(group, []).append(field)
        _check_key(field, key)
    return Plan(entity, key, fields, tuple(map(_source, groups.values())))


def _field(entity: str, key: KeyKind, name: str, hint: Any, declared: Declared) -> Field:
    kind, optional = _without_none(hint)
    try:
        info = msgspec.inspect.type_info(kind)
    except TypeError as error:
        reason = f"its type is none that values can be made for: {str(error).partition(chr(10))[0]}"
        raise EntityInvalid(
            f"{entity}.{name}", reason=reason, mend="Use plain types, Structs and dataclasses."
        ) from error
    parts = getattr(info, "fields", None)
    names = tuple(one.encode_name for one in parts) if parts else None
    direct = isinstance(kind, type) and get_origin(kind) is None and kind not in _EXACT and not is_typeddict(kind)
    return Field(entity, name, kind, optional, declared, names, direct, key.type)


def _source(fields: Sequence[Field]) -> Source:
    first = fields[0].declared
    said = {field.declared.required for field in fields} - {None}
    name = f"{first.store} {first.place}"
    if len(said) > 1:
        raise EntityInvalid(
            fields[0].entity, reason=f"{name} is said to be required and not to be", mend="Say one of the two."
        )
    needed = next((field for field in fields if not field.optional), None)
    if False in said and needed is not None:
        raise EntityInvalid(
            needed.label,
            reason=f"it cannot be None, and {name} may degrade (required=False)",
            mend=f"Annotate it with '| None', or leave required=False out at {name}.",
        )
    stale = [field.declared.stale for field in fields if field.declared.stale is not None]
    return Source(
        name, first.store, first, tuple(fields), True in said or needed is not None, min(stale) if stale else None
    )


def _check_key(field: Field, key: KeyKind) -> None:
    """A column's type is known, so it is compared here; what a document or a name holds, only its store knows."""
    if not isinstance(field.declared, InTable):
        return
    try:
        column = field.declared.key.type.python_type
    except NotImplementedError:
        return
    if column is not key.type:
        raise EntityInvalid(
            field.label,
            reason=f"its rows are found by a {column.__name__}, and the entity has key={key.type.__name__}",
            mend=f"Declare the entity with key={column.__name__}; the other sources convert it: mongo(…, key=str).",
        )


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in {Union, types.UnionType}:
        kinds = tuple(one for one in get_args(hint) if one is not type(None))
        if len(kinds) < len(get_args(hint)):
            return (kinds[0] if len(kinds) == 1 else Union[kinds]), True  # noqa: UP007 - made of values, not written
    return hint, hint is Any


def _made(kind: type[Any], raw: object) -> Any:
    """What msgspec itself does not know how to make: MongoDB's ObjectId, which edges hand on as text."""
    if is_object_id(kind) and isinstance(raw, str) and kind.is_valid(raw):
        return kind(raw)
    if isinstance(raw, kind):
        return raw
    raise msgspec.ValidationError(f"Expected `{kind.__name__}`, got `{type(raw).__name__}`")


def _texts(raw: object) -> object:
    """What Redis holds as text; raises ValidationError where it is none."""
    try:
        match raw:
            case bytes():
                return raw.decode()
            case dict():
                return {name.decode(): value.decode() for name, value in raw.items()}
            case list() | set():
                return [one.decode() for one in raw]
            case _:
                return raw
    except UnicodeDecodeError:
        raise msgspec.ValidationError("it is no text in UTF-8") from None
