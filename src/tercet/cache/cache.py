"""Cache: the object that people make, decorate with, and ask directly."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeGuard, TypeVar, overload
from weakref import WeakValueDictionary

from tercet.cache.cached import Cached, Found, decorate
from tercet.cache.encoding.codec import Codec, kind_of
from tercet.cache.encoding.key import Key, key_of
from tercet.cache.encoding.tags import plain
from tercet.cache.entry import Ask, policy
from tercet.cache.memory import MEMORY_BYTES, MEMORY_ENTRIES, Memory
from tercet.cache.tiers import Tiers
from tercet.clock import Clock, SystemClock
from tercet.errors import SettingInvalid, UsageError
from tercet.telemetry import Telemetry
from tercet.units import seconds, size_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from tercet.cache.port import Client, Home, Shelf

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# The space of keys that people write themselves.
SPACE = "k"

# Types of direct reads whose codecs are kept; a program names some dozens, and making one costs 100 µs.
CODECS_MAX = 1_000


class Cache:
    """Two tiers, this process and Redis, in front of your own functions.

        cache = Cache(db, ttl="5m")

        @cache(tags=["user:{user_id}"])
        async def profile(user_id: int) -> Profile: ...

    `source` is a Tercet (open or not yet), a redis-py client, a URL, or None for memory only. After a drop
    has returned, this process shows nothing older, and every other one nothing older for longer than
    `memory`. In memory only there is nobody to tell others: each process then shows what it has until its
    `ttl` ends.

    One cache belongs to one event loop at a time. When Redis is away, a read costs one `deadline` and then
    goes on without it; a drop fails aloud.
    """

    def __init__(
        self,
        source: Home | Client | str | None = None,
        *,
        ttl: str | float | None = None,
        layer: str | None = None,
        memory: str | float | None = None,
        jitter: float | None = None,
        namespace: str = "tercet",
        memory_entries: int = MEMORY_ENTRIES,
        memory_size: str | int = MEMORY_BYTES,
        deadline: str | float | None = None,
        telemetry: Telemetry | None = None,
        clock: Clock | None = None,
    ) -> None:
        home = source if _is_home(source) else None
        ticks: Clock = clock or (home.clock if home else SystemClock())
        tells = telemetry or (home.telemetry if home else Telemetry())
        self._policy = policy("Cache", ttl=ttl, layer=layer, memory=memory, jitter=jitter)
        near = Memory(ticks.monotonic, entries_max=_count(memory_entries), bytes_max=_size(memory_size))
        shelf = _shelf(source, namespace=namespace, deadline=deadline, now=ticks.monotonic)
        self._tiers = Tiers(near, shelf, clock=ticks, telemetry=tells)
        self._codecs: dict[object, Codec[Any]] = {}
        self._functions: WeakValueDictionary[str, Cached[..., Any]] = WeakValueDictionary()

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Cached[P, R]: ...

    @overload
    def __call__(
        self,
        function: None = None,
        /,
        *,
        tags: Iterable[str] = (),
        ttl: str | float | None = None,
        layer: str | None = None,
        memory: str | float | None = None,
        jitter: float | None = None,
        type: object | None = None,
        name: str | None = None,
        version: str | int | None = None,
        self_key: str | tuple[str, ...] = (),
    ) -> Callable[[Callable[P, Awaitable[R]]], Cached[P, R]]: ...

    def __call__(
        self,
        function: Callable[P, Awaitable[R]] | None = None,
        /,
        *,
        tags: Iterable[str] = (),
        ttl: str | float | None = None,
        layer: str | None = None,
        memory: str | float | None = None,
        jitter: float | None = None,
        type: object | None = None,  # noqa: A002 - what the user would call it
        name: str | None = None,
        version: str | int | None = None,
        self_key: str | tuple[str, ...] = (),
    ) -> object:
        """Keep the results of an async function, by its arguments.

        `tags` are templates over its parameters. `type` is what it returns, where its annotation does not say
        or cannot be resolved. `name` is what its keys begin with instead of its module and name, and
        `version` sets them apart from those of an earlier release that means something else. Everything is
        checked here: an unknown parameter in a tag, a layer that does not exist, a type that would not come
        back as it was.
        """

        def decorator(given: Callable[P, Awaitable[R]]) -> Cached[P, R]:
            called = getattr(given, "__qualname__", repr(given))
            rules = policy(
                f"The decorator of {called}()",
                ttl=ttl,
                layer=layer,
                memory=memory,
                jitter=jitter,
                default=self._policy,
            )
            cached = decorate(
                given,
                self._tiers,
                tags=tags,
                policy=rules,
                kind=type,
                name=name,
                version=version,
                self_key=self_key,
            )
            self._register(cached, called)
            return cached

        return decorator if function is None else decorator(function)

    @overload
    async def get(self, key: str, type: type[T]) -> T | None: ...

    @overload
    async def get(self, key: str, type: object = Any) -> object: ...

    async def get(self, key: str, type: object = Any) -> object:  # noqa: A002 - as above
        """The value under a key, or None: also for None itself, which `peek` tells apart.

        A value of another shape than `type` counts as not there.
        """
        found = await self.peek(key, type)
        return None if found is None else found.value

    @overload
    async def peek(self, key: str, type: type[T]) -> Found[T] | None: ...

    @overload
    async def peek(self, key: str, type: object = Any) -> Found[object] | None: ...

    async def peek(self, key: str, type: object = Any) -> Found[Any] | None:  # noqa: A002 - as above
        """The value under a key and the tier it was found in, or None if there is none."""
        (held,) = await self._tiers.look([self._ask(key, type)])
        return None if held is None else Found(held.take(), held.tier)

    @overload
    async def get_many(self, keys: Iterable[str], type: type[T]) -> dict[str, T]: ...

    @overload
    async def get_many(self, keys: Iterable[str], type: object = Any) -> dict[str, object]: ...

    async def get_many(self, keys: Iterable[str], type: object = Any) -> Mapping[str, object]:  # noqa: A002 - as above
        """The values of those keys that have one, in the order asked; Redis is asked once for all."""
        names = list(dict.fromkeys(keys))
        held = await self._tiers.look([self._ask(key, type) for key in names])
        return {key: one.take() for key, one in zip(names, held, strict=True) if one is not None}

    async def set(
        self,
        key: str,
        value: object,
        *,
        type: object | None = None,  # noqa: A002 - what the user would call it
        tags: Iterable[str] = (),
        ttl: str | float | None = None,
        layer: str | None = None,
    ) -> None:
        """Keep a value under a key, in place of what is there.

        Say `type` for a container of more than plain data: list[Profile]. Raises StoreUnreachable when Redis
        could not be told: other processes may then go on with the old value.
        """
        kind = type if type is not None else kind_of(value)
        await self._tiers.put(self._ask(key, kind, tags=tags, ttl=ttl, layer=layer), value)

    @overload
    async def get_or_load(
        self,
        key: str,
        loader: Callable[[], Awaitable[T]],
        type: type[T],
        *,
        tags: Iterable[str] = ...,
        ttl: str | float | None = ...,
        layer: str | None = ...,
    ) -> T: ...

    @overload
    async def get_or_load(
        self,
        key: str,
        loader: Callable[[], Awaitable[T]],
        type: object = Any,
        *,
        tags: Iterable[str] = ...,
        ttl: str | float | None = ...,
        layer: str | None = ...,
    ) -> T: ...

    async def get_or_load(
        self,
        key: str,
        loader: Callable[[], Awaitable[Any]],
        type: object = Any,  # noqa: A002 - as above
        *,
        tags: Iterable[str] = (),
        ttl: str | float | None = None,
        layer: str | None = None,
    ) -> object:
        """The value under a key, or what the loader returns, which is called once for all who ask."""
        return await self._tiers.fetch(self._ask(key, type, tags=tags, ttl=ttl, layer=layer), loader)

    async def drop(self, *keys: str) -> None:
        """Forget what is under these keys, here and in Redis; fails aloud like `drop_tags`."""
        await self._tiers.drop([_direct(key).name for key in keys], ())

    async def drop_tags(self, *tags: str) -> None:
        """Make everything that carries one of these tags invalid everywhere, for one write a tag.

        Raises StoreUnreachable when Redis could not be told; in this process it is done even so.
        """
        await self._tiers.drop((), plain(tags, of="drop_tags"))

    def clear_memory(self) -> None:
        """Forget what this process keeps; Redis and other processes keep what they have."""
        self._tiers.memory.clear()

    async def close(self) -> None:
        """End what is being loaded, forget what is in memory, and close a client that was made from a URL.

        A client or Tercet that was handed in stays open. The cache can be used again afterwards.
        """
        await self._tiers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _ask(
        self,
        key: str,
        kind: object,
        *,
        tags: Iterable[str] = (),
        ttl: str | float | None = None,
        layer: str | None = None,
    ) -> Ask[Any]:
        rules = self._policy
        if ttl is not None or layer is not None:
            rules = policy("This call", ttl=ttl, layer=layer, memory=None, jitter=None, default=rules)
        found = _direct(key)
        under = plain(tags, of=f"the key {key!r}") if tags else ()
        return Ask(found.name, found.full, under, self._codec(kind), rules, "direct")

    def _codec(self, kind: object) -> Codec[Any]:
        try:
            known = self._codecs.get(kind)
        except TypeError:
            # Annotated with something unhashable: it works, only not as fast.
            return Codec(kind, of="a direct read")
        if known is None:
            if len(self._codecs) >= CODECS_MAX:
                self._codecs.clear()
            known = self._codecs[kind] = Codec(kind, of="a direct read")
        return known

    def _register(self, cached: Cached[..., Any], called: str) -> None:
        taken = self._functions.get(cached.name)
        # At the top of a module a second definition replaces the first, as in a notebook. Inside a function
        # there may be many at once that differ in what they enclose, and their keys would be the same.
        if taken is not None and "<locals>" in called:
            raise UsageError(
                f"This cache has another {cached.name}() already, and the two would share their keys.",
                "Give each a name=… of its own, or decorate one function at the top of the module.",
            )
        self._functions[cached.name] = cached


def _direct(key: object) -> Key:
    if not isinstance(key, str) or not key:
        raise UsageError(f"{key!r} is no cache key.", "A key is a text such as 'profile:42'.")
    return key_of(SPACE, key)


def _shelf(source: object, *, namespace: str, deadline: str | float | None, now: Callable[[], float]) -> Shelf | None:
    """The shelf that `source` means: the one place where the room chooses its edge, loaded when wanted."""
    if source is None:
        return None
    from tercet.cache.redis import DEADLINE_SECONDS, OwnRedisShelf, RedisShelf  # noqa: PLC0415 - see above

    try:
        limit = seconds(deadline) if deadline is not None else DEADLINE_SECONDS
    except ValueError as error:
        raise SettingInvalid(
            "deadline", where="Cache", shown=repr(deadline), wanted="a time such as '250ms'"
        ) from error
    if isinstance(source, str):
        return OwnRedisShelf(source, namespace=namespace, deadline=limit, now=now)
    if _is_home(source):
        return RedisShelf(lambda: source.redis, namespace=namespace, deadline=limit, now=now)
    if hasattr(source, "execute_command") and hasattr(source, "pipeline"):
        return RedisShelf(lambda: source, namespace=namespace, deadline=limit, now=now)
    raise SettingInvalid(
        "source",
        where="Cache",
        shown=f"a {type(source).__name__}",
        wanted="a Tercet, a redis.asyncio client, a URL such as redis://localhost, or None for memory only",
    )


def _is_home(source: object) -> TypeGuard[Home]:
    """Whether this has what a Tercet has; its redis is not touched, which need not be open yet."""
    absent = object()
    return all(
        hasattr(source, name) or inspect.getattr_static(source, name, absent) is not absent
        for name in ("clock", "telemetry")
    ) and (inspect.getattr_static(source, "redis", absent) is not absent)


def _count(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise SettingInvalid("memory_entries", where="Cache", shown=repr(given), wanted="a whole number, 0 for none")
    return given


def _size(given: str | int) -> int:
    try:
        return size_bytes(given)
    except ValueError as error:
        raise SettingInvalid("memory_size", where="Cache", shown=repr(given), wanted="a size such as '64MB'") from error
