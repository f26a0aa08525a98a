"""Calls to values: one call is one tuple, however its arguments are passed, in the order of the parameters."""

from __future__ import annotations

import inspect
import keyword
import operator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from tercet.cache.encoding.key import class_name, encode
from tercet.errors import Unkeyable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Types whose equal values are equal calls and that nobody can change: together with its type such a value is
# a key of this process as it is. A Decimal is none: 1.0 and 1.00 are equal, and are two calls.
ATOMS: frozenset[type] = frozenset({int, float, str, bool, bytes, type(None), UUID, date, timedelta})

# How people write those of them that are looked at first where a parameter is said to be one. Whatever such a
# name means in their module, an argument's type is compared with ours before anything is made of it.
SAID: Mapping[object, type] = MappingProxyType(
    {
        **{kind: kind for kind in ATOMS},
        **{kind.__name__: kind for kind in ATOMS},
        "uuid.UUID": UUID,
        "datetime.date": date,
        "datetime.timedelta": timedelta,
    }
)

_MEND = (
    "Pass something that cannot change: a number, str, bytes, date, UUID, Enum, tuple, frozenset, "
    "or a frozen dataclass or Struct of such."
)

# Names in the code that is made per function; no parameter may begin like them.
OURS = "_tercet_"

# The first parameter of what is defined in a class; the object is handed to the function, and is no part of a key.
OWNERS = frozenset({"self", "cls"})


@dataclass(frozen=True, slots=True)
class Binder:
    """How the calls of one function become values in the order of its parameters; compiled once.

    The values of a method begin with those attributes of its object that are part of the key.
    """

    function: str
    # Of all values: "self.tenant_id" is an attribute, "*rest" takes any number.
    names: tuple[str, ...]
    # "self" or "cls" where there is one, or empty.
    owner: str
    # How many of the values are attributes of the owner.
    owned: int
    # Source of the parameter list, without the owner, and of the values that are arguments.
    head: str
    arguments: tuple[str, ...]
    # Source of the call that hands the values of a tuple `_tercet_values` to the function.
    handing: str
    defaults: Mapping[str, object]
    # The one type that a value is said to have, where equal values of it are equal calls.
    kinds: tuple[type | None, ...]
    # Parameters that are said to be moments: equal moments of different zones are different calls, so their
    # zone is looked at too.
    zoned: tuple[bool, ...]

    @property
    def open_ended(self) -> bool:
        """Whether the function takes any number of arguments."""
        return any(name.startswith("*") for name in self.names)

    @property
    def exact(self) -> bool:
        """Whether all values have one type that they are said to have."""
        return not self.open_ended and None not in self.kinds

    def compile(self, source: str, **names: object) -> FunctionType:
        """The one function that `source` defines, with `names` and the defaults known to it."""
        given = {"type": type, "len": len, "datetime": datetime, **names}
        scope: dict[str, Any] = {**self.defaults, **{f"{OURS}{name}": one for name, one in given.items()}}
        # Python binds its own arguments faster and more rightly than any code of ours could; as namedtuple
        # and dataclasses do, the function is written for its signature. Only checked identifiers get into the
        # text.
        exec(source, scope)  # noqa: S102 - see above
        return cast("FunctionType", scope[f"{OURS}made"])

    def values(self) -> Callable[..., tuple[object, ...]]:
        """A function of the owner (None without one) and these parameters that returns the values."""
        head = f"{OURS}owner, /, {self.head}" if "/" not in self.head else f"{OURS}owner, {self.head}"
        own = f"*{OURS}read({OURS}owner), " if self.owned else ""
        source = f"def {OURS}made({head}):\n    return ({own}{as_items(self.arguments)})\n"
        made = self.compile(source, read=self.read)
        # What a wrong call's TypeError says.
        made.__qualname__ = self.function
        return made

    def read(self, owner: object) -> tuple[object, ...]:
        """The attributes of an owner that are part of the key; raises UsageError for one that it lacks."""
        found = []
        for name in self.names[: self.owned]:
            path = name.partition(".")[2]
            try:
                found.append(operator.attrgetter(path)(owner))
            except AttributeError as error:
                raise UsageError(
                    f"{self.function}() needs {name} for its key: {error}.",
                    "Set it before the first call, or name another attribute in self_key=….",
                ) from error
        return tuple(found)

    def hand(self, function: Callable[..., Any]) -> Callable[[object, tuple[object, ...]], Any]:
        """A function that calls `function` with an owner, where it has one, and the values of such a tuple."""
        owner = f"{OURS}owner, " if self.owner else ""
        source = f"def {OURS}made({OURS}owner, {OURS}values):\n    return {OURS}function({owner}{self.handing})\n"
        return self.compile(source, function=function)

    def text(self, values: tuple[object, ...]) -> str:
        """The values as they stand in a key; raises Unkeyable, which names the parameter."""
        written = []
        for name, value in zip(self.names, values, strict=True):
            try:
                written.append(encode(value))
            except (TypeError, ValueError, RecursionError) as error:
                raise Unkeyable(
                    class_name(type(value)), parameter=name.lstrip("*"), function=self.function, mend=_MEND
                ) from error
        own = f"[{','.join(written[: self.owned])}]" if self.owned else ""
        return f"{own}({','.join(written[self.owned :])})"

    def fast(self, values: tuple[object, ...]) -> object:
        """What finds the entry of these values in this process without writing its key; None for no such thing.

        Values of exactly the types that they are said to have stand for themselves, others with their types:
        the two never look alike.
        """
        if self.open_ended:
            return None
        if self.exact and all(type(value) is kind for value, kind in zip(values, self.kinds, strict=True)):
            return values[0] if len(values) == 1 else values
        parts: list[object] = []
        for value, zoned in zip(values, self.zoned, strict=True):
            kind = type(value)
            if kind not in ATOMS and not (zoned and kind is datetime):
                return None
            parts += (kind, value)
            if zoned:
                parts.append((value.tzinfo, value.fold) if isinstance(value, datetime) else None)
        return tuple(parts)


def as_items(sources: tuple[str, ...]) -> str:
    """The inside of a tuple of these, as source."""
    return "".join(f"{one}, " for one in sources).rstrip(" ")


def bind(function: Callable[..., object], *, self_key: str | tuple[str, ...] = (), owned: bool | None = None) -> Binder:
    """The binder of a function or method; raises UsageError for what has no signature to read.

    `self_key` names attributes of a method's object that are part of its keys. `owned` says whether the first
    parameter is that object; else its name does.
    """
    called = getattr(function, "__qualname__", type(function).__qualname__)
    try:
        parameters = tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"The signature of {called} cannot be read.", "Cache an async function of your own."
        ) from error
    if owned is None:
        owned = bool(parameters) and parameters[0].name in OWNERS
    owner = parameters[0].name if owned and parameters else ""
    parameters = parameters[1:] if owner else parameters
    paths = _paths(self_key, called, owner)
    for parameter in parameters:
        bad = parameter.name.startswith(OURS) or keyword.iskeyword(parameter.name)
        if bad or not parameter.name.isidentifier():
            raise UsageError(
                f"{called}() has a parameter {parameter.name!r}, of which no code can be made.", "Rename it."
            )
        if parameter.default is not parameter.empty:
            _check_default(parameter, called)
    return _written(called, parameters, owner, tuple(f"{owner}.{path}" for path in paths))


def _paths(self_key: object, called: str, owner: str) -> tuple[str, ...]:
    given: tuple[object, ...] = self_key if isinstance(self_key, tuple) else (self_key,)
    paths = tuple(path for path in given if isinstance(path, str))
    bad = [path for path in given if not isinstance(path, str) or not all(map(str.isidentifier, path.split(".")))]
    if bad:
        raise UsageError(
            f"self_key={self_key!r} of {called}() names no attribute.",
            "Write self_key='tenant_id', or a tuple of such names, with dots for attributes of attributes.",
        )
    if paths and not owner:
        raise UsageError(
            f"{called}() has no self, whose {paths[0]} could be part of its key.",
            "Use self_key on a method only; what a function needs is one of its parameters.",
        )
    return paths


def _check_default(parameter: inspect.Parameter, function: str) -> None:
    try:
        encode(parameter.default)
    except (TypeError, ValueError, RecursionError) as error:
        kind = class_name(type(parameter.default))
        raise Unkeyable(kind, parameter=parameter.name, function=function, mend=_MEND) from error


def _written(function: str, parameters: tuple[inspect.Parameter, ...], owner: str, own: tuple[str, ...]) -> Binder:
    head: list[str] = []
    handing: list[str] = []
    arguments: list[str] = []
    names = list(own)
    defaults: dict[str, object] = {}
    kinds = [parameter.kind for parameter in parameters]
    for place, parameter in enumerate(parameters):
        name, kind, stars = parameter.name, parameter.kind, ""
        given = f"{OURS}values[{len(own) + place}]"
        if kind is parameter.KEYWORD_ONLY and parameter.VAR_POSITIONAL not in kinds[:place] and "*" not in head:
            head.append("*")
        if kind is parameter.VAR_POSITIONAL:
            stars = "*"
            handing.append(f"*{given}")
            arguments.append(name)
        elif kind is parameter.VAR_KEYWORD:
            stars = "**"
            handing.append(f"**dict({given})")
            arguments.append(f"tuple(sorted({name}.items()))")
        else:
            handing.append(f"{name}={given}" if kind is parameter.KEYWORD_ONLY else given)
            arguments.append(name)
        default = ""
        if parameter.default is not parameter.empty:
            defaults[f"{OURS}default_{place}"] = parameter.default
            default = f"={OURS}default_{place}"
        head.append(f"{stars}{name}{default}")
        names.append(f"{stars}{name}")
        if kind is parameter.POSITIONAL_ONLY and kinds[place + 1 : place + 2] != [parameter.POSITIONAL_ONLY]:
            head.append("/")
    return Binder(
        function=function,
        names=tuple(names),
        owner=owner,
        owned=len(own),
        head=", ".join(head),
        arguments=tuple(arguments),
        handing=", ".join(handing),
        defaults=MappingProxyType(defaults),
        kinds=(None,) * len(own) + tuple(map(_kind, parameters)),
        zoned=(False,) * len(own) + tuple(map(_is_zoned, parameters)),
    )


def _kind(parameter: inspect.Parameter) -> type | None:
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
        return None
    try:
        return SAID.get(parameter.annotation)
    except TypeError:
        # An annotation may be anything, also something that has no hash.
        return None


def _is_zoned(parameter: inspect.Parameter) -> bool:
    return _kind(parameter) is None and "datetime" in str(parameter.annotation)
