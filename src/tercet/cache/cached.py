"""A decorated function: called as before, answered from the cache."""

from __future__ import annotations

import functools
import inspect
import typing
from dataclasses import dataclass
from types import new_class
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

import msgspec

from tercet.cache.encoding.codec import Codec
from tercet.cache.encoding.key import identity
from tercet.cache.encoding.tags import templates
from tercet.cache.functions import work as working
from tercet.cache.functions.binder import bind
from tercet.errors import Uncacheable, UsageError

if typing.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from tercet.cache.entry import Policy, Tier
    from tercet.cache.functions.work import Work
    from tercet.cache.tiers import Tiers

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
L = TypeVar("L", bound="Callable[..., Awaitable[Mapping[Any, Any]]]")


@dataclass(frozen=True, slots=True)
class Found(Generic[R_co]):
    """A value that was there, and where; None may well be the value."""

    value: R_co
    tier: Tier


class Answers(Generic[P, R]):
    """What can be asked of a cached function; every method takes the function's own arguments."""

    __slots__ = ()

    if typing.TYPE_CHECKING:
        # Hidden when it runs: Bound's fields would be looked for here too, and this name is not known then.
        _work: Work[R]

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result for these arguments: from this process, from Redis, or from the function itself."""
        return await self._work.fetch(*self._call(args, kwargs))

    async def many(self, items: Iterable[object]) -> list[R]:
        """The results for many arguments at once, in their order; what has none yet is loaded, and only that.

        An item is the argument of a function that takes one; of one that takes several, a tuple of them, or a
        dict by their names. Redis is asked once for all.
        """
        return await self._work.many(self._of_all(), list(items))

    async def drop(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forget the result for these arguments, here and in Redis.

        False when Redis could not be told yet; here it is forgotten even so.
        """
        return await self._work.drop(self._call(args, kwargs)[1])

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> Found[R] | None:
        """The result for these arguments, or None if there is none; never calls the function."""
        sight = await self._work.look(self._call(args, kwargs)[1])
        return None if sight is None else Found(sight.take(), sight.tier)

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function whatever is cached, and keep what it returns; others get the old one."""
        owner, values = self._call(args, kwargs)
        return await self._work.fetch(owner, values, anew=True)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of the result for these arguments, as people can read it."""
        ask = self._work.ask(self._call(args, kwargs)[1])
        return ask.full or ask.name

    def _call(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> tuple[object, tuple[object, ...]]:
        """Whose call this is, and its values."""
        raise NotImplementedError

    def _of_all(self) -> object:
        """Whose calls those of a bulk read are."""
        raise NotImplementedError


class Bound(msgspec.Struct, Answers[P, R], eq=False):
    """A cached method of one object: it is handed to the function, and never kept."""

    # Each decorated method gets a subclass with a __call__ written for its signature. One object is made for
    # each look at the method, so it is a Struct, which is made in half of the time.
    _work: Any
    _owner: object

    def __repr__(self) -> str:
        return f"<cached {self._work.name} of a {type(self._owner).__name__}>"

    def _call(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> tuple[object, tuple[object, ...]]:
        return self._owner, self._work.values(self._owner, *args, **kwargs)

    def _of_all(self) -> object:
        return self._owner


class Cached(Answers[P, R]):
    """An async function whose results are kept.

    Every method takes the function's own arguments, in whatever way they may be passed. In a class it is a
    method: `user.profile(42)`, `user.profile.drop(42)`.
    """

    # Each decorated function gets a subclass with a __call__ written for its signature.
    def __init__(
        self,
        function: Callable[P, Awaitable[R]],
        work: Work[R],
        bound: type[Bound[..., R]] | None = None,
        *,
        of_class: bool = False,
    ) -> None:
        functools.update_wrapper(self, function)
        self.name = work.name
        self.policy = work.policy
        self._work = work
        self._bound = bound
        self._of_class = of_class

    def __repr__(self) -> str:
        return f"<cached {self.name}>"

    @overload
    def __get__(self, owner: None, kind: type) -> Cached[P, R]: ...

    @overload
    def __get__(self: Cached[Concatenate[Any, Q], R], owner: object, kind: type | None = None) -> Bound[Q, R]: ...

    def __get__(self, owner: object, kind: type | None = None) -> object:
        bound = self._bound
        if bound is None:
            return self
        if self._of_class:
            return bound(self._work, kind or type(owner))
        return self if owner is None else bound(self._work, owner)

    def bulk(self, loader: L) -> L:
        """Let an async function load many at once, for `many`: from a list of arguments to a dict of results.

        It is given only what is to be loaded: where the function takes several arguments, tuples of them. What
        it leaves out is None where that is a result, and is loaded by the function itself where it is not.
        """
        self._work.add_bulk(loader)
        return loader

    def _call(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> tuple[object, tuple[object, ...]]:
        if self._bound is None:
            return None, self._work.values(None, *args, **kwargs)
        if not args:
            raise TypeError(f"{self._work.called}() is a method and needs its object: call it on one.")
        return args[0], self._work.values(*args, **kwargs)

    def _of_all(self) -> object:
        if self._bound is not None:
            raise TypeError(f"{self._work.called}() is a method: ask an object of its class for many.")
        return None


def decorate(
    function: Callable[P, Awaitable[R]],
    tiers: Tiers,
    *,
    tags: str | Iterable[str],
    policy: Policy,
    kind: object | None,
    name: str | None,
    version: str | int | None,
    self_key: str | tuple[str, ...] = (),
) -> Cached[P, R]:
    """The cached form of a function; whatever is wrong with it is raised here, where the decorator stands."""
    # As @staticmethod or @classmethod leave it, whichever stands below ours.
    inside: Any = function.__func__ if isinstance(function, classmethod | staticmethod) else function
    owned = None if inside is function else isinstance(function, classmethod)
    called = getattr(inside, "__qualname__", type(inside).__qualname__)
    if not inspect.iscoroutinefunction(inside):
        raise UsageError(f"{called} is not an async function.", "Cache a function that is defined with 'async def'.")
    binder = bind(inside, self_key=self_key, owned=owned)
    parameters = [one for one in binder.names if not one.startswith("*")]
    found = templates(tags, function=called, parameters=parameters)
    codec: Codec[R] = Codec(kind if kind is not None else _declared(inside, called), of=f"the result of {called}()")
    said = identity(inside, name=name, version=version)
    work = working.Work(inside, tiers, binder, name=said, codec=codec, found=found, policy=policy)
    written: dict[str, object] = {"__module__": __name__}
    if work.call is not None:
        work.call.__doc__ = Answers.__call__.__doc__
        written["__call__"] = work.call
    if not binder.owner:
        written["_owner"] = None
        return cast("Cached[P, R]", type("Cached", (Cached,), written)(inside, work))
    return Cached(inside, work, _bound_class(written), of_class=bool(owned))


def _bound_class(written: Mapping[str, object]) -> type[Bound[..., Any]]:
    return cast("type[Bound[..., Any]]", new_class("Bound", (Bound,), {"eq": False}, lambda made: made.update(written)))


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
