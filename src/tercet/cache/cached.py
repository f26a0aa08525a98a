"""A decorated function: called as before, answered from the cache."""

from __future__ import annotations

import functools
import inspect
import typing
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, cast

from tercet.cache.encoding.codec import Codec
from tercet.cache.encoding.key import Binder, bind, identity, key_of
from tercet.cache.encoding.tags import Template, filled, templates
from tercet.cache.entry import Ask, Tier
from tercet.errors import Uncacheable, UsageError
from tercet.telemetry import CacheRead

if typing.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from tercet.cache.entry import Policy
    from tercet.cache.memory import Slot
    from tercet.cache.tiers import Tiers

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

# The space of keys that belong to functions; those that people write themselves have their own.
SPACE = "f"


@dataclass(frozen=True, slots=True)
class Found(Generic[R_co]):
    """A value that was there, and where; None may well be the value."""

    value: R_co
    tier: Tier


class Cached(Generic[P, R]):
    """An async function whose results are kept.

    Every method takes the function's own arguments, in whatever way they may be passed.
    """

    # Each decorated function gets a subclass with a __call__ written for its signature; see _class_for.
    def __init__(
        self,
        function: Callable[P, Awaitable[R]],
        tiers: Tiers,
        binder: Binder,
        *,
        name: str,
        codec: Codec[R],
        found: tuple[Template, ...],
        policy: Policy,
        index: dict[tuple[object, ...], Slot],
    ) -> None:
        functools.update_wrapper(self, function)
        self.name = name
        self.policy = policy
        self._tiers = tiers
        self._binder = binder
        self._codec = codec
        self._templates = found
        self._index = index
        self._values = binder.values()
        self._hand: Callable[[tuple[object, ...]], Awaitable[R]] = binder.hand(function)
        self._parameters = tuple(one.lstrip("*") for one in binder.names)

    def __repr__(self) -> str:
        return f"<cached {self.name}>"

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result for these arguments: from this process, from Redis, or from the function itself."""
        return await self._fetch(self._values(*args, **kwargs))

    async def drop(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result for these arguments, here and in Redis.

        Raises StoreUnreachable when Redis could not be told; in this process it is forgotten even so.
        """
        await self._tiers.drop((self._ask(self._values(*args, **kwargs)).name,), ())

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> Found[R] | None:
        """The result for these arguments, or None if there is none; never calls the function."""
        (held,) = await self._tiers.look([self._ask(self._values(*args, **kwargs))], keep=False)
        return None if held is None else Found(held.take(), held.tier)

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function whatever is cached, and keep what it returns; others get the old one."""
        return await self._fetch(self._values(*args, **kwargs), anew=True)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of the result for these arguments, as people can read it."""
        ask = self._ask(self._values(*args, **kwargs))
        return ask.full or ask.name

    async def _fetch(self, values: tuple[object, ...], *, anew: bool = False) -> R:
        return await self._tiers.fetch(self._ask(values), lambda: self._hand(values), anew=anew)

    def _ask(self, values: tuple[object, ...]) -> Ask[R]:
        key = key_of(SPACE, self.name + self._binder.text(values))
        tags = filled(self._templates, self._parameters, values)
        raw = self._binder.fast(values)
        return Ask(key.name, key.full, tags, self._codec, self.policy, self.name, self._index, raw)


def decorate(
    function: Callable[P, Awaitable[R]],
    tiers: Tiers,
    *,
    tags: str | typing.Iterable[str],
    policy: Policy,
    kind: object | None,
    name: str | None,
    version: str | int | None,
) -> Cached[P, R]:
    """The cached form of a function; whatever is wrong with it is raised here, where the decorator stands."""
    called = getattr(function, "__qualname__", type(function).__qualname__)
    if not inspect.iscoroutinefunction(function):
        raise UsageError(f"{called} is not an async function.", "Cache a function that is defined with 'async def'.")
    binder = bind(function)
    parameters = [one for one in binder.names if not one.startswith("*")]
    found = templates(tags, function=called, parameters=parameters)
    codec: Codec[R] = Codec(kind if kind is not None else _declared(function, called), of=f"the result of {called}()")
    said = identity(function, name=name, version=version)
    index: dict[tuple[object, ...], Slot] = {}
    made = _class_for(called, tiers, binder, codec=codec, index=index, label=said)
    cached = made(function, tiers, binder, name=said, codec=codec, found=found, policy=policy, index=index)
    return cast("Cached[P, R]", cached)


def _declared(function: Callable[..., object], called: str) -> object:
    """The return annotation as a type; Any where there is none."""
    written = getattr(function, "__annotations__", {}).get("return", inspect.Parameter.empty)
    if written is inspect.Parameter.empty:
        return Any
    if written is None:
        return type(None)

    def only() -> None: ...

    # The other annotations are none of the cache's business, and may not be resolvable at all.
    only.__annotations__ = {"return": written}
    plain = inspect.unwrap(function)
    names = getattr(plain, "__globals__", None) or getattr(getattr(plain, "__func__", None), "__globals__", {})
    try:
        return typing.get_type_hints(only, globalns=names, include_extras=True)["return"]
    except (NameError, TypeError, AttributeError) as error:
        raise Uncacheable(
            f"{written!r} (the result of {called}())",
            reason=f"the annotation cannot be resolved: {error}",
            mend="Import or define the type above the function, or give it to the decorator as type=….",
        ) from error


def _class_for(
    called: str,
    tiers: Tiers,
    binder: Binder,
    *,
    codec: Codec[Any],
    index: dict[tuple[object, ...], Slot],
    label: str,
) -> type[Cached[..., Any]]:
    """A class whose __call__ answers from memory with one look into a dict and one at the clock."""
    if binder.tuple_of_types is None:
        return Cached
    telemetry, now = tiers.telemetry, tiers.clock.monotonic

    def tell(since: float) -> None:
        telemetry.tell(CacheRead(label, "memory", now() - since, "ok"))

    head = f", {binder.head}" if binder.head else ""
    kept = "slot.value" if codec.immutable else "decode(_tercet_slot.body)"
    source = f"""\
async def _tercet_made(_tercet_self{head}):
    try:
        _tercet_slot = _tercet_index[{binder.tuple_of_types}]
    except (KeyError, TypeError):
        _tercet_slot = None
    if _tercet_slot is not None:
        if _tercet_slot.epoch == _tercet_memory.epoch or _tercet_memory.is_current(_tercet_slot):
            _tercet_moment = _tercet_now()
            if _tercet_slot.until > _tercet_moment:
                _tercet_slot.seen = True
                if _tercet_telemetry.heard:
                    _tercet_tell(_tercet_moment)
                return _tercet_{kept}
    return await _tercet_self._fetch({binder.tuple_of_values})
"""
    call: Callable[..., Coroutine[Any, Any, Any]] = binder.compile(
        source,
        index=index,
        memory=tiers.memory,
        now=now,
        telemetry=telemetry,
        tell=tell,
        decode=codec.decode,
    )
    call.__doc__ = Cached.__call__.__doc__
    call.__qualname__ = called
    return type("Cached", (Cached,), {"__call__": call, "__module__": __name__})
