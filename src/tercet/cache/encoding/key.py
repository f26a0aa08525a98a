"""Calls to keys: full, readable, typed; equal for equal calls and for no others."""

from __future__ import annotations

import hashlib
import inspect
import keyword
import sys
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from tercet.errors import Unkeyable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Longer keys cost Redis more memory than most values; up to here a person can still read one.
KEY_CHARS_MAX = 400
# What stays readable of a longer one: the function and its first arguments.
PREFIX_CHARS = 120
# blake2b-256: no two keys share a digest, and it works where md5 is switched off.
DIGEST_BYTES = 32

# Types whose equal values are equal calls and that nobody can change: together with its type such a value is
# a key of this process as it is. A Decimal is none: 1.0 and 1.00 are equal, and are two calls.
ATOMS = frozenset({int, float, str, bool, bytes, type(None), UUID, date, timedelta})

_MEND = (
    "Pass something that cannot change: a number, str, bytes, date, UUID, Enum, tuple, frozenset, "
    "or a frozen dataclass or Struct of such."
)

# Names in the code that is made per function; no parameter may begin like them.
_OURS = "_tercet_"


@dataclass(frozen=True, slots=True)
class Key:
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
        return f"e{_sized(f'{_class_name(type(value))}.{value.name}')}"
    if isinstance(value, PurePath):
        return f"P{_sized(f'{type(value).__name__}:{value}')}"
    names = _frozen_fields(value)
    if names is None:
        raise TypeError(_class_name(type(value)))
    inside = ",".join(encode(getattr(value, name)) for name in names)
    return f"o{_sized(_class_name(type(value)))}({inside})"


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


def _class_name(kind: type) -> str:
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


@dataclass(frozen=True, slots=True)
class Binder:
    """How the calls of one function become values in the order of its parameters; compiled once."""

    function: str
    names: tuple[str, ...]
    # Source of the parameter list, of the tuple of values, and of the tuple that finds an entry in this
    # process without writing a key (None where the function takes any number of arguments).
    head: str
    tuple_of_values: str
    tuple_of_types: str | None
    # Source of the call that hands the values of a tuple `_tercet_values` to the function.
    handing: str
    defaults: Mapping[str, object]
    # Parameters that are said to be moments: equal moments of different zones are different calls, so their
    # zone is looked at too.
    zoned: tuple[bool, ...]

    def compile(self, source: str, **names: object) -> FunctionType:
        """The one function that `source` defines, with `names` and the defaults known to it."""
        scope: dict[str, Any] = {
            f"{_OURS}type": type,
            f"{_OURS}datetime": datetime,
            **self.defaults,
            **{f"{_OURS}{name}": given for name, given in names.items()},
        }
        # Python binds its own arguments faster and more rightly than any code of ours could; as namedtuple
        # and dataclasses do, the function is written for its signature. Only checked identifiers get into the
        # text.
        exec(source, scope)  # noqa: S102 - see above
        return cast("FunctionType", scope[f"{_OURS}made"])

    def values(self) -> Callable[..., tuple[object, ...]]:
        """A function with these parameters that returns its arguments in their order, defaults filled in."""
        return self.compile(f"def {_OURS}made({self.head}):\n    return {self.tuple_of_values}\n")

    def hand(self, function: Callable[..., Any]) -> Callable[[tuple[object, ...]], Any]:
        """A function that calls `function` with the values of such a tuple."""
        source = f"def {_OURS}made({_OURS}values):\n    return {_OURS}function({self.handing})\n"
        return self.compile(source, function=function)

    def text(self, values: tuple[object, ...]) -> str:
        """The arguments as they stand in a key; raises Unkeyable, which names the parameter."""
        written = []
        for name, value in zip(self.names, values, strict=True):
            try:
                written.append(encode(value))
            except (TypeError, RecursionError) as error:
                raise Unkeyable(
                    _class_name(type(value)), parameter=name.lstrip("*"), function=self.function, mend=_MEND
                ) from error
        return f"({','.join(written)})"

    def fast(self, values: tuple[object, ...]) -> tuple[object, ...] | None:
        """What `tuple_of_types` makes of these values; None where that is no key by itself."""
        if self.tuple_of_types is None:
            return None
        parts: list[object] = []
        for value, zoned in zip(values, self.zoned, strict=True):
            kind = type(value)
            if kind not in ATOMS and not (zoned and kind is datetime):
                return None
            parts += (kind, value)
            if zoned:
                parts.append((value.tzinfo, value.fold) if isinstance(value, datetime) else None)
        return tuple(parts)


def bind(function: Callable[..., object]) -> Binder:
    """The binder of a function; raises UsageError for a method and for what has no signature to read."""
    called = getattr(function, "__qualname__", type(function).__qualname__)
    try:
        parameters = tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"The signature of {called} cannot be read.", "Cache an async function of your own."
        ) from error
    if parameters and parameters[0].name in {"self", "cls"}:
        raise UsageError(
            f"{called}() is a method, and {parameters[0].name} can be no part of a key.",
            "Cache a function; or, for one object that all share, the bound method: "
            "self.profile = cache(tags=…)(self.load_profile).",
        )
    for parameter in parameters:
        bad = parameter.name.startswith(_OURS) or keyword.iskeyword(parameter.name)
        if bad or not parameter.name.isidentifier():
            raise UsageError(
                f"{called}() has a parameter {parameter.name!r}, of which no code can be made.", "Rename it."
            )
    binder = _written(called, parameters)
    for parameter in parameters:
        if parameter.default is not parameter.empty:
            _check_default(parameter, called)
    return binder


def _check_default(parameter: inspect.Parameter, function: str) -> None:
    try:
        encode(parameter.default)
    except (TypeError, RecursionError) as error:
        kind = _class_name(type(parameter.default))
        raise Unkeyable(kind, parameter=parameter.name, function=function, mend=_MEND) from error


def _typed(name: str, zoned: bool) -> str:
    known = f"{_OURS}type({name}), {name}"
    if not zoned:
        return known
    return f"{known}, ({name}.tzinfo, {name}.fold) if {_OURS}type({name}) is {_OURS}datetime else None"


def _written(function: str, parameters: tuple[inspect.Parameter, ...]) -> Binder:
    head: list[str] = []
    handing: list[str] = []
    values: list[str] = []
    names: list[str] = []
    defaults: dict[str, object] = {}
    kinds = [parameter.kind for parameter in parameters]
    for place, parameter in enumerate(parameters):
        name, kind, stars = parameter.name, parameter.kind, ""
        given = f"{_OURS}values[{place}]"
        if kind is parameter.KEYWORD_ONLY and parameter.VAR_POSITIONAL not in kinds[:place] and "*" not in head:
            head.append("*")
        if kind is parameter.VAR_POSITIONAL:
            stars = "*"
            handing.append(f"*{given}")
            values.append(name)
        elif kind is parameter.VAR_KEYWORD:
            stars = "**"
            handing.append(f"**dict({given})")
            values.append(f"tuple(sorted({name}.items()))")
        else:
            handing.append(f"{name}={given}" if kind is parameter.KEYWORD_ONLY else given)
            values.append(name)
        default = ""
        if parameter.default is not parameter.empty:
            defaults[f"{_OURS}default_{place}"] = parameter.default
            default = f"={_OURS}default_{place}"
        head.append(f"{stars}{name}{default}")
        names.append(f"{stars}{name}")
        if kind is parameter.POSITIONAL_ONLY and kinds[place + 1 : place + 2] != [parameter.POSITIONAL_ONLY]:
            head.append("/")
    open_ended = any(name.startswith("*") for name in names)
    zoned = tuple("datetime" in str(parameter.annotation) for parameter in parameters)
    typed = ", ".join(map(_typed, values, zoned))
    return Binder(
        function=function,
        names=tuple(names),
        head=", ".join(head),
        tuple_of_values=f"({', '.join(values)},)" if values else "()",
        tuple_of_types=None if open_ended else (f"({typed},)" if values else "()"),
        handing=", ".join(handing),
        defaults=MappingProxyType(defaults),
        zoned=zoned,
    )
