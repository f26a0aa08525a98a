"""An entry: the policy by which it lives, how it is asked for, and how it is handed out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, Literal, TypedDict, TypeVar

import msgspec

from tercet.errors import LayerUnknown, SettingInvalid
from tercet.units import seconds

if TYPE_CHECKING:
    from tercet.cache.encoding.codec import Codec
    from tercet.cache.memory import Slot
    from tercet.cache.state import State

T = TypeVar("T")

Tier = Literal["memory", "redis", "loader"]

# The layers that people name: something looked at all the time, something of a user's visit, something that
# rarely changes, and something that is computed once a day.
LAYERS: Mapping[str, float] = MappingProxyType(
    {"hot": 60.0, "warm": 300.0, "cold": 3_600.0, "persistent": 86_400.0},
)

# More is a mistake in units rather than a wish, and Redis refuses expiries that overflow.
TTL_SECONDS_MAX = 3_650 * 86_400.0

# A failed load of what can still be shown stale is not tried again for this long: one try a second is enough
# to see that the source is back, and no load at all.
THROTTLE_SECONDS = 1.0


class PolicyWords(TypedDict, total=False):
    """How people write a policy: times such as "5m", or seconds."""

    ttl: str | float | None
    layer: str | None
    memory: str | float | None
    jitter: float | None
    stale: str | float | None
    negative: str | float | None
    early: float | None
    soft_timeout: str | float | None
    hard_timeout: str | float | None
    throttle: str | float | None


@dataclass(frozen=True, slots=True)
class Policy:
    """How an entry lives; seconds. What is random about it only ever takes away from a time."""

    # Fresh for so long: long enough to pay, short enough to heal by itself while people look.
    ttl: float = 300.0
    # Answered by this process alone for so long, before it asks Redis again.
    memory: float = TTL_SECONDS_MAX
    # Entries made in one burst must not all end in one moment: each lives up to a tenth less.
    jitter: float = 0.1
    # Shown for so long after its end: while one caller loads it anew, or when that fails.
    stale: float = 0.0
    # None is a value, and lives so long at most: what does not exist yet is asked for again soon.
    negative: float = 30.0
    # XFetch's beta: 1 is what its authors found best; 0 never loads before the end.
    early: float = 1.0
    # How long a caller waits for the new value before the stale one is good enough.
    soft_timeout: float = 0.0
    # How long a caller waits at all; the load itself goes on, and what it brings is kept.
    hard_timeout: float | None = None
    # After a failed load, how long its error answers without another; None: only where a stale value does.
    throttle: float | None = None

    def lifetime(self, draw: float, *, negative: bool = False) -> float:
        """Seconds that one entry is fresh; `draw` is a random number from 0 up to 1."""
        whole = min(self.ttl, self.negative) if negative else self.ttl
        return whole * (1.0 - self.jitter * draw)


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


class Held(msgspec.Struct, Generic[T], frozen=True, eq=False, gc=False):
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


class Sight(msgspec.Struct, Generic[T], frozen=True, eq=False, gc=False):
    """An entry that was seen in a tier: what it holds, and what it is good for."""

    tier: Tier
    codec: Codec[T]
    # The value itself, where nobody can change it or where nobody else has it, and its bytes; one may be lacking.
    value: T | None
    body: bytes | None
    state: State
    # False where only Redis can say whether it still holds: it answers if Redis cannot.
    settled: bool = True
    tags: tuple[str, ...] = ()
    size: int = 0
    # Seconds that it is fresh, that it may be shown after that, and that loading it took.
    left: float = 0.0
    grace: float = 0.0
    load_seconds: float = 0.0
    # Decoded for this sight alone: its one taker need not decode it again.
    decoded: bool = False

    def take(self) -> T:
        """The value, for the one caller who has this sight of it."""
        if self.decoded or self.body is None:
            return self.value  # type: ignore[return-value]  # it is one of T, which may be None
        return self.codec.decode(self.body)

    def held(self) -> Held[T]:
        """The same for any number of callers, who cannot spoil it for each other."""
        if self.codec.immutable or self.body is None:
            return Held(self.tier, self.codec, self.value, None)
        return Held(self.tier, self.codec, None, self.body)


# Which words may be nothing at all, and which are no times.
_ZERO = frozenset({"memory", "stale", "negative", "soft_timeout", "throttle"})
_PLAIN = frozenset({"jitter", "early"})
_NAMES = frozenset(one.name for one in fields(Policy))


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one cache by name: tercet's own, and those that it was given."""

    known: Mapping[str, Mapping[str, object]]

    @classmethod
    def of(cls, given: Mapping[str, object] | None) -> Layers:
        """The layers in `given` beside tercet's own; each is a ttl, or the words of a policy."""
        known: dict[str, Mapping[str, object]] = {name: {"ttl": ttl} for name, ttl in LAYERS.items()}
        for name, words in (given or {}).items():
            one: Mapping[str, object] = dict(words) if isinstance(words, Mapping) else {"ttl": words}
            known[name] = one
            where = f"The layer {name!r}"
            unknown = set(one) - _NAMES
            if unknown or "ttl" not in one:
                shown = repr(min(unknown)) if unknown else repr(one)
                raise SettingInvalid("layers", where=where, shown=shown, wanted="a ttl, and words of a policy")
            _changed(Policy(), one, where)
        return cls(MappingProxyType(known))

    def words(self, name: object) -> Mapping[str, object]:
        """The words of one layer; raises LayerUnknown."""
        found = self.known.get(name) if isinstance(name, str) else None
        if found is None:
            near = difflib.get_close_matches(str(name), self.known, n=1)
            raise LayerUnknown(str(name), near=near[0] if near else None, known=tuple(self.known))
        return found


def policy(where: str, words: Mapping[str, object], *, layers: Layers, default: Policy | None = None) -> Policy:
    """The policy that these words mean, with `default` for what they leave out.

    Raises LayerUnknown and SettingInvalid; a decorator calls this while its module is imported.
    """
    given = {name: value for name, value in words.items() if value is not None}
    layer = given.pop("layer", None)
    if layer is not None and "ttl" in given:
        shown = f"{layer!r} and ttl to {given['ttl']!r}"
        raise SettingInvalid("layer", where=where, shown=shown, wanted="one of the two: a layer is a ttl")
    found = default or Policy()
    if layer is not None:
        found = _changed(found, layers.words(layer), where)
    return _changed(found, given, where)


def _changed(found: Policy, words: Mapping[str, object], where: str) -> Policy:
    values = {}
    for name, value in words.items():
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, n=1)
            wanted = f"{near[0]!r}?" if near else f"one of {', '.join(sorted(_NAMES))}"
            raise SettingInvalid("policy", where=where, shown=repr(name), wanted=wanted)
        values[name] = _part(name, value, where) if name in _PLAIN else _span(name, value, where)
    return replace(found, **values)


def _part(name: str, given: object, where: str) -> float:
    most = 1.0 if name == "jitter" else float("inf")
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0.0 <= given < most:
        wanted = "a part from 0 up to (not with) 1" if name == "jitter" else "a number, 0 for never"
        raise SettingInvalid(name, where=where, shown=repr(given), wanted=wanted)
    return float(given)


def _span(name: str, given: object, where: str) -> float:
    zero = name in _ZERO
    wanted = "a time such as '30s' or '5m'" + ("" if zero else ", longer than nothing") + ", of ten years at most"
    try:
        value = seconds(given)  # type: ignore[arg-type]  # what it cannot read, it refuses, and says so below
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingInvalid(name, where=where, shown=repr(given), wanted=wanted) from error
    if value > TTL_SECONDS_MAX or (value == 0.0 and not zero):
        raise SettingInvalid(name, where=where, shown=repr(given), wanted=wanted)
    return value
