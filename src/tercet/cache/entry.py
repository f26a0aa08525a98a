"""An entry: how long it lives where, how it is asked for, and how it is handed out."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import msgspec

from tercet.errors import LayerUnknown, SettingInvalid
from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.cache.encoding.codec import Codec
    from tercet.cache.memory import Slot

T = TypeVar("T")

Tier = Literal["memory", "redis", "loader"]
Versions = dict[str, bytes | None]

# The layers that people name: something looked at all the time, something of a user's visit, something that
# rarely changes, and something that is computed once a day.
LAYERS: Mapping[str, float] = MappingProxyType(
    {"hot": 60.0, "warm": 300.0, "cold": 3_600.0, "persistent": 86_400.0},
)

# Neither layer nor ttl given: long enough to pay, short enough to heal by itself while people look.
DEFAULT_TTL = "5m"

# How long this process answers out of its own memory without asking Redis, which is also how long it may show
# a value that another process has dropped. At one read a millisecond, 5 s spare 99.98 % of the round trips.
DEFAULT_MEMORY = "5s"

# Entries made in one burst must not all end in one moment: each lives up to a tenth less than it was given.
DEFAULT_JITTER = 0.1

# More is a mistake in units rather than a wish, and Redis refuses expiries that overflow.
TTL_SECONDS_MAX = 3_650 * 86_400.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How long an entry lives; seconds. `ttl` is a maximum: jitter only ever takes away from it."""

    ttl: float
    memory: float
    jitter: float

    def lifetime(self, draw: float) -> float:
        """Seconds that one entry lives; `draw` is a random number from 0 up to 1."""
        return self.ttl * (1.0 - self.jitter * draw)

    def in_memory(self, draw: float) -> float:
        """Seconds that this process answers by itself before it asks Redis again."""
        return min(self.memory * (1.0 - self.jitter * draw), self.lifetime(draw))


class Ask(msgspec.Struct, Generic[T], frozen=True, eq=False, gc=False):
    """One value that is asked for: its key, what it depends on, its type, how long it lives.

    One is made for each key of a bulk read, so it is a Struct, written by position: a tenth of the time that a
    frozen dataclass takes.
    """

    # What the entry lies under, and the whole key where that had to be shortened, or nothing; see key.
    name: str
    full: str
    tags: tuple[str, ...]
    codec: Codec[T]
    policy: Policy
    # Whose reads these are, for telemetry and errors; never a value.
    label: str
    # Where a function finds its entries in this process by their arguments alone, and what stands for these
    # arguments there; None where they are no key by themselves.
    index: dict[object, Slot] | None = None
    raw: object = None


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A value on its way to callers: itself where nobody can change it, else its bytes, for each anew."""

    tier: Tier
    codec: Codec[T]
    value: T | None
    body: bytes | None

    def take(self) -> T:
        """A value that is the caller's own."""
        if self.body is not None:
            return self.codec.decode(self.body)
        return self.value  # type: ignore[return-value]  # no body: the value is one of T, which may be None


def held(tier: Tier, codec: Codec[T], value: T, body: bytes) -> Held[T]:
    """A value of which the bytes are known, in the form in which callers cannot spoil it for each other."""
    return Held(tier, codec, value, None) if codec.immutable else Held(tier, codec, None, body)


def policy(
    where: str,
    *,
    ttl: str | float | None,
    layer: str | None,
    memory: str | float | None,
    jitter: float | None,
    default: Policy | None = None,
) -> Policy:
    """The policy that these words mean, with `default` for what they leave out.

    Raises LayerUnknown and SettingInvalid; a decorator calls this while its module is imported.
    """
    if ttl is not None and layer is not None:
        raise SettingInvalid(
            "layer",
            where=where,
            shown=f"{layer!r} and ttl to {ttl!r}",
            wanted="one of the two: a layer is a ttl",
        )
    if layer is not None:
        lives = _layer(layer)
    elif ttl is not None or default is None:
        lives = _span("ttl", ttl if ttl is not None else DEFAULT_TTL, where=where)
    else:
        lives = default.ttl
    if memory is not None or default is None:
        held = _span("memory", memory if memory is not None else DEFAULT_MEMORY, where=where, zero=True)
    else:
        held = default.memory
    spread: object = jitter if jitter is not None else (default.jitter if default else DEFAULT_JITTER)
    if isinstance(spread, bool) or not isinstance(spread, int | float) or not 0.0 <= spread < 1.0:
        raise SettingInvalid("jitter", where=where, shown=repr(spread), wanted="a part from 0 up to (not with) 1")
    return Policy(ttl=lives, memory=held, jitter=float(spread))


def _layer(name: str) -> float:
    lives = LAYERS.get(name)
    if lives is None:
        near = difflib.get_close_matches(str(name), LAYERS, n=1)
        raise LayerUnknown(name, near=near[0] if near else None, known=tuple(LAYERS))
    return lives


def _span(name: str, given: str | float, *, where: str, zero: bool = False) -> float:
    wanted = "a time such as '30s' or '5m'" + ("" if zero else ", longer than nothing") + ", of ten years at most"
    try:
        value = seconds(given)
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingInvalid(name, where=where, shown=repr(given), wanted=wanted) from error
    if value > TTL_SECONDS_MAX or (value == 0.0 and not zero):
        raise SettingInvalid(name, where=where, shown=repr(given), wanted=wanted)
    return value
