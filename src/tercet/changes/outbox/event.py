"""Events as types: their names, versions and keys, and what each looks like on its way."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime  # noqa: TC003 - a Struct's annotations are read while it runs
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias, TypeVar, dataclass_transform

import msgspec

from tercet.clock import Clock  # noqa: TC001 - a constructor's annotation, kept beside those that are read
from tercet.errors import SchemaInvalid

Format = Literal["msgpack", "json"]

# A document of an older version, as plain values, made into one of the next version.
Upcast: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

# What an event may take with its envelope. PostgreSQL would take a gigabyte; an event says what has happened, and
# everything beyond a page or two belongs into a row that it names. Every reader of the log carries it.
EVENT_BYTES_MAX = 256 << 10

# A key is an index entry in PostgreSQL, and those end at 2,704 bytes.
KEY_BYTES_MAX = 512

# A name is part of every event; this is more than any class is called.
NAME_CHARS_MAX = 200


_E = TypeVar("_E", bound="EventType")


class Kind(NamedTuple):
    """What a type of events has declared of itself."""

    name: str
    version: int
    # The field whose value orders events; none: an event is in order with no other.
    key: str | None


def _checked(made: Any, kind: Kind) -> Kind:
    what = f"The event type {made.__qualname__}"
    if type(kind.version) is not int or kind.version < 1:
        raise SchemaInvalid(what, reason=f"its version is {kind.version!r}", mend="Versions are 1, 2, 3 …")
    if kind.key is not None and kind.key not in made.__struct_fields__:
        listed = ", ".join(made.__struct_fields__) or "none"
        raise SchemaInvalid(what, reason=f"its key {kind.key!r} is none of its fields", mend=f"It has: {listed}.")
    if len(kind.name) > NAME_CHARS_MAX:
        raise SchemaInvalid(what, reason="its name is too long", mend=f"It may have {NAME_CHARS_MAX} characters.")
    return kind


@dataclass_transform(field_specifiers=(msgspec.field,), frozen_default=True)
class EventType(msgspec.StructMeta):
    """Makes types of events: it takes what they declare beside msgspec's own options."""

    def __new__(  # noqa: PYI019 - in a metaclass, Self means nothing
        mcls: type[_E],
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        key: str | None = None,
        version: int = 1,
        name_as: str | None = None,
        **options: Any,
    ) -> _E:
        """A type of events; raises SchemaInvalid where what it declares cannot be."""
        made: Any = super().__new__(mcls, name, bases, namespace, **options)
        made.__kind__ = _checked(made, Kind(name_as or name, version, key))
        return made  # type: ignore[no-any-return]  # StructMeta's stubs know no class


class Event(msgspec.Struct, metaclass=EventType, frozen=True):
    """Something that has happened: `class OrderPlaced(Event, key="order_id", version=2): order_id: int`.

    Events with the same value in the field `key` are handled in the order of their commits, others side by side.
    `name_as` is the name that travels, where it is not that of the class: a renamed class keeps its old one.
    """

    __kind__: ClassVar[Kind]

    if TYPE_CHECKING:
        # What type checkers look at; while it runs, the metaclass takes these.
        def __init_subclass__(
            cls, *, key: str | None = None, version: int = 1, name_as: str | None = None, **options: Any
        ) -> None: ...


class Envelope(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An event on its way: what is known of it without knowing its type."""

    # The same however often it is delivered; ids that were made later sort later.
    id: str
    type: str
    version: int
    # The value of the key's field as text; of an event without a key, its id, which it shares with no other.
    key: str
    at: datetime
    body: msgspec.Raw
    # W3C's traceparent of whoever emitted it.
    trace: str | None = None


class Unreadable(Exception):
    """An event that is no event of ours; the text says why and holds nothing of it."""


_PACKED = msgspec.msgpack.Encoder()
_WRITTEN = msgspec.json.Encoder()
_UNPACK = msgspec.msgpack.Decoder(Envelope)
_READ = msgspec.json.Decoder(Envelope)

# What an envelope in JSON begins with; in MessagePack a map begins with another byte.
_JSON_BEGINS = b"{"


def new_id(milliseconds: int | None = None) -> str:
    """A UUID of version 7: its time first, and 74 random bits."""
    value = (milliseconds if milliseconds is not None else time.time_ns() // 1_000_000) << 80
    value |= int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return str(uuid.UUID(int=value & (1 << 128) - 1))


def wrap(event: Event, *, clock: Clock, form: Format = "msgpack", trace: str | None = None) -> tuple[Envelope, bytes]:
    """The event in its envelope, and what travels; raises SchemaInvalid for one that is too large."""
    kind = event.__kind__
    now = clock.now()
    encoder: Any = _PACKED if form == "msgpack" else _WRITTEN
    name = new_id(int(now.timestamp() * 1000))
    try:
        body = msgspec.Raw(encoder.encode(event))
    except (TypeError, ValueError, OverflowError) as error:
        raise SchemaInvalid(
            f"An event {kind.name}",
            reason=f"it cannot be written as {form}: {error}",
            mend="Its fields must be values that msgspec knows.",
        ) from error
    key = name if kind.key is None else _key_of(kind, getattr(event, kind.key))
    envelope = Envelope(id=name, type=kind.name, version=kind.version, key=key, at=now, body=body, trace=trace)
    content: bytes = encoder.encode(envelope)
    if len(content) > EVENT_BYTES_MAX:
        raise SchemaInvalid(
            f"An event {kind.name}",
            reason=f"it takes {len(content):,} bytes",
            mend=f"{EVENT_BYTES_MAX:,} is the most: keep what is large in a row, and let the event name it.",
        )
    return envelope, content


def _key_of(kind: Kind, value: object) -> str:
    text = value if isinstance(value, str) else str(msgspec.to_builtins(value))
    # PostgreSQL's text has no NUL.
    if len(text.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX or "\0" in text or value is None:
        raise SchemaInvalid(
            f"The key of an event {kind.name}",
            reason="it is None, has a NUL or is too long",
            mend=f"A key is a value whose text has {KEY_BYTES_MAX} bytes at most.",
        )
    return text


def unwrap(content: bytes) -> Envelope:
    """The envelope that these bytes are; raises Unreadable."""
    try:
        envelope = (_READ if content[:1] == _JSON_BEGINS else _UNPACK).decode(content)
        uuid.UUID(envelope.id)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unreadable(f"it is no envelope: {type(error).__name__}") from error
    return envelope


class Catalogue:
    """The types that an outbox knows, by the names that travel, and how older versions become newer ones."""

    __slots__ = ("_types", "_upcasts")

    def __init__(self) -> None:
        self._types: dict[str, type[Event]] = {}
        self._upcasts: dict[tuple[str, int], Upcast] = {}

    def declare(self, kind: type[Event]) -> None:
        """Know this type; SchemaInvalid where another one goes by its name."""
        name = kind.__kind__.name
        known = self._types.setdefault(name, kind)
        if known is not kind and _place(known) != _place(kind):
            raise SchemaInvalid(
                f"The event type {_place(kind)}",
                reason=f"{_place(known)} is called {name!r} too",
                mend='Give one of them another name: class …(Event, name_as="…").',
            )
        # The same class once more is a module that was loaded anew.
        self._types[name] = kind

    def upcast(self, kind: type[Event], version: int, step: Upcast) -> None:
        """Let `step` make a document of `version` into one of the version after it."""
        self.declare(kind)
        newest = kind.__kind__.version
        if not 1 <= version < newest:
            raise SchemaInvalid(
                f"An upcast of {kind.__kind__.name} from version {version}",
                reason=f"its version is {newest}",
                mend="It is declared from a version below the present one.",
            )
        self._upcasts[kind.__kind__.name, version] = step

    def names(self) -> Sequence[str]:
        """The names of the types that were declared here."""
        return tuple(self._types)

    def knows(self, name: str) -> bool:
        """Whether there is such a type in this process, declared here or only defined."""
        return name in self._types or any(one.__kind__.name == name for one in _defined(Event))

    def read(self, envelope: Envelope) -> Event:
        """The event, in its present version; raises Unreadable."""
        kind = self._types.get(envelope.type)
        if kind is None:
            raise Unreadable(f"nobody here knows the type {envelope.type!r}")
        body, wanted = bytes(envelope.body), kind.__kind__.version
        if envelope.version > wanted:
            raise Unreadable(f"{envelope.type} version {envelope.version} is newer than what is known, {wanted}")
        written = body[:1] == _JSON_BEGINS
        try:
            if envelope.version == wanted:
                event: Event = (msgspec.json if written else msgspec.msgpack).decode(body, type=kind)
                return event
            document = (msgspec.json if written else msgspec.msgpack).decode(body)
            for version in range(envelope.version, wanted):
                document = self._upcasts[envelope.type, version](document)
            return msgspec.convert(document, kind, strict=False)
        except KeyError as error:
            if error.args and isinstance(error.args[0], tuple):
                raise Unreadable(f"no upcast of {envelope.type} is declared from version {error.args[0][1]}") from error
            raise Unreadable(f"the upcast of {envelope.type} failed: KeyError") from error
        except Exception as error:
            # An upcast is the user's code; whatever it raises, this event cannot be read.
            raise Unreadable(
                f"{envelope.type} version {envelope.version} does not decode: {type(error).__name__}"
            ) from error


def _place(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _defined(kind: type[Event]) -> Iterator[type[Event]]:
    for one in kind.__subclasses__():
        yield one
        yield from _defined(one)


def shown(event: Mapping[str, Any] | bytes) -> object:
    """An event's envelope as plain values, for people; what cannot be read is told by its length."""
    if not isinstance(event, bytes):
        return event
    try:
        envelope = unwrap(event)
        body = bytes(envelope.body)
        document = (msgspec.json if body[:1] == _JSON_BEGINS else msgspec.msgpack).decode(body)
    except (Unreadable, msgspec.MsgspecError):
        return {"unreadable_bytes": len(event)}
    plain = {"id": envelope.id, "type": envelope.type, "version": envelope.version, "key": envelope.key}
    return {**plain, "at": envelope.at.isoformat(), "body": msgspec.to_builtins(document)}
