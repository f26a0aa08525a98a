"""Values and entries to bytes and back: the same type both ways, or an error where the decorator stands."""

from __future__ import annotations

import hashlib
import math
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec
from msgspec import inspect as shape

from tercet.cache.encoding.pickled import Pickled
from tercet.errors import Uncacheable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# Of a value that was cached without a type: only plain data, which any type may try to read.
PLAIN = b"plain"

# 128 bits of the shape: two shapes that differ are never taken for each other.
SCHEMA_BYTES = 16

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_PLAIN_TYPES = _SCALARS | {list, dict}

# Types of which nobody can change a value, so that one object can be handed to everybody.
_IMMUTABLE = (
    shape.NoneType,
    shape.BoolType,
    shape.IntType,
    shape.FloatType,
    shape.StrType,
    shape.BytesType,
    shape.DateTimeType,
    shape.DateType,
    shape.TimeType,
    shape.TimeDeltaType,
    shape.UUIDType,
    shape.DecimalType,
    shape.EnumType,
    shape.LiteralType,
)

# msgspec takes these, and they would not come back as they went in: it leaves them to the user's own code.
_FOREIGN = (shape.CustomType, shape.RawType, shape.ExtType, shape.MemoryViewType)

_encode = msgspec.msgpack.Encoder().encode


class Undecodable(Exception):
    """These bytes hold no value of the wanted type; to the cache this is a miss."""


class Codec(Generic[T]):
    """Encodes and decodes the values of one type.

    A decoded value has the declared type all the way down. A moment with a time zone comes back in UTC, the
    same moment. Make one per type and keep it: making it costs some 100 µs.
    """

    __slots__ = ("_decode", "_pickled", "_plain", "copy", "immutable", "loose", "schema", "takes_none", "unsigned")

    _decode: Callable[[bytes], T]
    # A value of their own from bytes that were decoded here before: fit for what is called all the time.
    copy: Callable[[bytes], T]

    def __init__(self, kind: object, *, of: str) -> None:
        self._pickled = kind if isinstance(kind, Pickled) else None
        # Whether bytes from anywhere may be given to `copy`, which raises whatever it likes.
        self.unsigned = self._pickled is None
        if isinstance(kind, Pickled):
            self.schema = kind.schema(SCHEMA_BYTES)
            self.loose = self.immutable = False
            self.takes_none = issubclass(type(None), kind.kind)
            self._plain: type | None = None
            self.copy = self._unpickled
            return
        tree, decoder = _read(kind, of)
        self.loose = any(isinstance(node, shape.AnyType) for node in walk(tree))
        self.schema = PLAIN if isinstance(tree, shape.AnyType) else _digest(tree)
        self.immutable = _is_immutable(tree, ())
        self.takes_none = _takes_none(tree)
        self._plain = _plain_outside(tree)
        self._decode = self.copy = decoder.decode

    def encode(self, value: T, *, of: str, key: str = "") -> bytes:
        """The bytes of a value; raises Uncacheable for one that would come back as something else.

        Signed bytes are good for this key only.
        """
        try:
            if self._pickled is not None:
                return self._pickled.write(value, schema=self.schema, key=key)
            body = _encode(value)
            if not self.loose or self._is_plain(value):
                return body
            returned = self._decode(body)
        except Exception as error:
            raise Uncacheable(f"The value of {of}", reason=_clause(error), mend=_MEND_VALUE) from error
        if not same(value, returned):
            raise Uncacheable(
                f"The value of {of}",
                reason=f"it is a {_name(type(value))} with parts of which only plain data would come back",
                mend=_MEND_VALUE,
            )
        return body

    def decode(self, body: bytes, *, key: str | None = None) -> T:
        """The value in these bytes; raises Undecodable where they hold none of this type.

        Whoever has read them from where others can write says the key too: signed bytes are good for one.
        """
        try:
            if self._pickled is not None:
                return cast("T", self._pickled.read(body, schema=self.schema, key=key))
            return self._decode(body)
        except Exception as error:
            raise Undecodable(type(error).__name__) from error

    def reads(self, schema: bytes) -> bool:
        """Whether a value written under this schema may be tried."""
        return schema == self.schema or (schema == PLAIN and self._pickled is None)

    def _is_plain(self, value: object) -> bool:
        """Whether a value is sure to come back as it is, so that it need not be decoded to see it."""
        kind = type(value)
        return (self._plain is object or self._plain is kind) and is_plain(value)

    def _unpickled(self, body: bytes) -> T:
        return self.decode(body)


def _read(kind: object, of: str) -> tuple[shape.Type, msgspec.msgpack.Decoder[Any]]:
    """A type as msgspec sees it, and its decoder; raises Uncacheable."""
    try:
        tree = shape.type_info(kind)
        decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(cast("type[Any]", kind))
    except (TypeError, ValueError, NameError, AttributeError) as error:
        raise Uncacheable(f"{_name(kind)} ({of})", reason=_clause(error), mend=_MEND_TYPE) from error
    for node in walk(tree):
        if isinstance(node, _FOREIGN):
            inside = _name(getattr(node, "cls", None) or node)
            raise Uncacheable(
                f"{_name(kind)} ({of})",
                reason=f"nobody can tell how to rebuild a {inside}",
                mend=_MEND_TYPE,
            )
    return tree, decoder


def is_plain(value: object) -> bool:
    """Whether a value is None, a bool, number, text, bytes, or a list or dict by text of such, exactly."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is dict:
        for name, part in cast("dict[object, object]", value).items():
            if type(name) is not str or (type(part) not in _SCALARS and not is_plain(part)):
                return False
        return True
    if kind is list:
        for part in cast("list[object]", value):  # noqa: SIM110 - a generator costs more than what it looks at
            if type(part) not in _SCALARS and not is_plain(part):
                return False
        return True
    return False


def _plain_outside(tree: shape.Type) -> type | None:
    """The type of a value that comes back as it is if it is plain: `object` is any, None is none."""
    if isinstance(tree, shape.AnyType):
        return object
    if tree == shape.ListType(shape.AnyType()):
        return list
    return dict if tree == shape.DictType(shape.StrType(), shape.AnyType()) else None


def _takes_none(tree: shape.Type) -> bool:
    parts = tree.types if isinstance(tree, shape.UnionType) else (tree,)
    return any(
        isinstance(part, shape.NoneType | shape.AnyType)
        or (isinstance(part, shape.LiteralType) and None in part.values)
        for part in parts
    )


_MEND_TYPE = (
    "Declare what comes back as a msgspec.Struct, a dataclass, a TypedDict, or plain and standard types, "
    "and make one of it before you return."
)
_MEND_VALUE = (
    "Say its type (a return annotation, or type=…), or return only what JSON knows: "
    "None, bool, int, float, str, list and dict."
)


def kind_of(value: object) -> object:
    """The type under which a value is cached when nobody says one: its own, or Any for plain data."""
    return Any if type(value) in _PLAIN_TYPES else type(value)


def same(one: object, other: object) -> bool:
    """Whether two values are equal in their types too, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    names = _field_names(one)
    if names is not None:
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other)


def _field_names(value: object) -> tuple[str, ...] | None:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if is_dataclass(value):
        return tuple(field.name for field in dataclass_fields(value))
    return None


def walk(tree: shape.Type) -> Iterator[shape.Type]:
    """Every type in a type, each class once: a type may contain itself."""
    seen: set[object] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        kind = getattr(node, "cls", None)
        if kind is not None:
            if kind in seen:
                continue
            seen.add(kind)
        yield node
        waiting.extend(_inside(node))


def _inside(node: shape.Type) -> list[shape.Type]:
    found: list[shape.Type] = []
    for name in node.__struct_fields__:
        part = getattr(node, name)
        for one in part if isinstance(part, tuple) else (part,):
            if isinstance(one, shape.Type):
                found.append(one)
            elif isinstance(one, shape.Field):
                found.append(one.type)
    return found


def _digest(tree: shape.Type) -> bytes:
    text = _describe(tree, ())
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=SCHEMA_BYTES).digest()


def _describe(node: object, above: tuple[object, ...]) -> str:
    """A text that is equal in every process for an equal shape, and for no other."""
    if isinstance(node, tuple):
        return f"({','.join(_describe(one, above) for one in node)})"
    if isinstance(node, shape.Field):
        need = "!" if node.required else "?"
        return f"{node.encode_name!r}{need}{_describe(node.type, above)}"
    if isinstance(node, type):
        return _name(node)
    if not isinstance(node, shape.Type):
        return repr(node)
    kind = getattr(node, "cls", None)
    if kind is not None and kind in above:
        return f"^{_name(kind)}"
    inner = above if kind is None else (*above, kind)
    parts = ",".join(f"{name}={_describe(getattr(node, name), inner)}" for name in node.__struct_fields__)
    members = f"|{[(one.name, one.value) for one in kind]!r}" if isinstance(node, shape.EnumType) and kind else ""
    return f"{type(node).__name__}[{parts}{members}]"


def _is_immutable(node: shape.Type, above: tuple[object, ...]) -> bool:
    if isinstance(node, _IMMUTABLE):
        return True
    kind = getattr(node, "cls", None)
    if kind is not None:
        if kind in above:
            return True
        frozen = (
            isinstance(node, shape.NamedTupleType)
            or (isinstance(node, shape.StructType) and kind.__struct_config__.frozen)
            or (isinstance(node, shape.DataclassType) and _is_frozen_dataclass(kind))
        )
        return frozen and all(_is_immutable(one, (*above, kind)) for one in _inside(node))
    holders = (shape.TupleType, shape.VarTupleType, shape.FrozenSetType, shape.UnionType)
    return isinstance(node, holders) and all(_is_immutable(one, above) for one in _inside(node))


def _is_frozen_dataclass(kind: type) -> bool:
    parameters = getattr(kind, "__dataclass_params__", None)
    return bool(parameters is not None and parameters.frozen)


def _name(kind: object) -> str:
    if isinstance(kind, type):
        return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return repr(kind)


def _clause(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
