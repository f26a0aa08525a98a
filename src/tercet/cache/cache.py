"""Cache: the object that people make, decorate with, and ask directly."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, Unpack, overload
from weakref import WeakValueDictionary

from tercet.cache.cached import Cached, Found, decorate
from tercet.cache.encoding.codec import Codec, kind_of
from tercet.cache.encoding.key import KEY_CHARS_MAX, key_of
from tercet.cache.encoding.tags import plain
from tercet.cache.entry import Ask, Layers, PolicyWords, policy
from tercet.cache.follow import Covers, Following, Sees, Shapes
from tercet.cache.follow.following import Store
from tercet.cache.memory import MEMORY_BYTES, MEMORY_ENTRIES, Memory
from tercet.cache.parts import count_of, deadline_of, is_home, shelf_of, size_of, wire_of
from tercet.cache.shelf import DEADLINE_SECONDS, Drop
from tercet.cache.stats import explanation_of, report_of, stats_of
from tercet.cache.straight import Outcome
from tercet.cache.tiers import Tiers
from tercet.clock import Clock, SystemClock
from tercet.errors import SettingInvalid, UsageError
from tercet.telemetry import Telemetry
from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from tercet.cache.follow import Changes
    from tercet.cache.port import Client, Home
    from tercet.cache.stats import Explanation, Stats

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
        layers: Mapping[str, object] | None = None,
        namespace: str = "tercet",
        memory_entries: int = MEMORY_ENTRIES,
        memory_size: str | int = MEMORY_BYTES,
        deadline: str | float | None = None,
        telemetry: Telemetry | None = None,
        clock: Clock | None = None,
        **words: Unpack[PolicyWords],
    ) -> None:
        home = source if is_home(source) else None
        ticks: Clock = clock or (home.clock if home else SystemClock())
        tells = telemetry or (home.telemetry if home else Telemetry())
        self._layers = Layers.of(layers)
        self._policy = policy("Cache", words, layers=self._layers)
        near = Memory(ticks.monotonic, entries_max=count_of(memory_entries), bytes_max=size_of(memory_size))
        limit = DEADLINE_SECONDS if deadline is None else deadline_of(deadline)
        wire, self._own = wire_of(source, deadline=limit, clock=ticks, telemetry=tells)
        shelf = shelf_of(wire, namespace=namespace, deadline=limit, clock=ticks, telemetry=tells)
        self._tiers = Tiers(near, shelf, clock=ticks, telemetry=tells)
        if shelf is not None:
            shelf.report(partial(report_of, self._tiers, namespace))
        self._namespace = namespace
        self._followings: list[Following] = []
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
        type: object | None = None,
        name: str | None = None,
        version: str | int | None = None,
        self_key: str | tuple[str, ...] = (),
        **words: Unpack[PolicyWords],
    ) -> Callable[[Callable[P, Awaitable[R]]], Cached[P, R]]: ...

    def __call__(
        self,
        function: Callable[P, Awaitable[R]] | None = None,
        /,
        *,
        tags: Iterable[str] = (),
        type: object | None = None,  # noqa: A002 - what the user would call it
        name: str | None = None,
        version: str | int | None = None,
        self_key: str | tuple[str, ...] = (),
        **words: Unpack[PolicyWords],
    ) -> object:
        """Keep the results of an async function, by its arguments.

        `tags` are templates over its parameters. `type` is what it returns, where its annotation does not say
        or cannot be resolved. `name` is what its keys begin with instead of its module and name, and
        `version` sets them apart from those of an earlier release that means something else. Everything is
        checked here: an unknown parameter in a tag, a layer that does not exist, a type that would not come
        back as it was. Of a method, self is no part of the key but for what `self_key` names of it.
        """

        def decorator(given: Callable[P, Awaitable[R]]) -> Cached[P, R]:
            called = getattr(given, "__qualname__", repr(given))
            rules = policy(f"The decorator of {called}()", words, layers=self._layers, default=self._policy)
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
        return await self._tiers.straight.fetch(self._ask(key, type))

    @overload
    async def peek(self, key: str, type: type[T]) -> Found[T] | None: ...

    @overload
    async def peek(self, key: str, type: object = Any) -> Found[object] | None: ...

    async def peek(self, key: str, type: object = Any) -> Found[Any] | None:  # noqa: A002 - as above
        """The value under a key and the tier it was found in, or None if there is none."""
        sight = await self._tiers.look(self._ask(key, type))
        return None if sight is None else Found(sight.take(), sight.tier)

    @overload
    async def get_many(self, keys: Iterable[str], type: type[T]) -> dict[str, T]: ...

    @overload
    async def get_many(self, keys: Iterable[str], type: object = Any) -> dict[str, object]: ...

    async def get_many(self, keys: Iterable[str], type: object = Any) -> Mapping[str, object]:  # noqa: A002 - as above
        """The values of those keys that have one, in the order asked; Redis is asked once for all."""
        names, codec = list(dict.fromkeys(keys)), self._codec(type)
        asks = [Ask(*_direct(key), (), codec, self._policy, "direct") for key in names]
        found = await self._tiers.straight.find_many(asks)
        return {key: value for key, value in zip(names, found, strict=True) if not isinstance(value, Outcome)}

    async def set(
        self,
        key: str,
        value: object,
        *,
        type: object | None = None,  # noqa: A002 - what the user would call it
        tags: Iterable[str] = (),
        **words: Unpack[PolicyWords],
    ) -> bool:
        """Keep a value under a key, in place of what is there.

        Say `type` for a container of more than plain data: list[Profile]. False when Redis could not be told:
        it is told to forget the old value as soon as it answers, and nobody here is shown it.
        """
        kind = type if type is not None else kind_of(value)
        return await self._tiers.put(self._ask(key, kind, tags=tags, words=words), value)

    @overload
    async def get_or_load(
        self,
        key: str,
        loader: Callable[[], Awaitable[T]],
        type: type[T],
        *,
        tags: Iterable[str] = ...,
        **words: Unpack[PolicyWords],
    ) -> T: ...

    @overload
    async def get_or_load(
        self,
        key: str,
        loader: Callable[[], Awaitable[T]],
        type: object = Any,
        *,
        tags: Iterable[str] = ...,
        **words: Unpack[PolicyWords],
    ) -> T: ...

    async def get_or_load(
        self,
        key: str,
        loader: Callable[[], Awaitable[Any]],
        type: object = Any,  # noqa: A002 - as above
        *,
        tags: Iterable[str] = (),
        **words: Unpack[PolicyWords],
    ) -> object:
        """The value under a key, or what the loader returns, which is called once for all who ask."""
        return await self._tiers.straight.fetch(self._ask(key, type, tags=tags, words=words), loader)

    async def drop(self, *keys: str) -> bool:
        """Forget what is under these keys, here and in Redis; as `drop_tags`."""
        return await self._tiers.drop(Drop(names=tuple(_direct(key)[0] for key in keys)))

    async def drop_tags(self, *tags: str) -> bool:
        """Make everything that carries one of these tags invalid everywhere, for one write a tag.

        True when Redis knows. False when it does not answer: then the drop is kept and delivered as soon as it
        does, which `delivered` waits for; in this process it is done either way.
        """
        return await self._tiers.drop(Drop(tags=plain(tags, of="drop_tags")))

    async def drop_pattern(self, pattern: str) -> bool:
        """Forget every key that a glob matches, such as "users:list:*"; as `drop_tags`.

        `*`, `?` and `[…]` mean what they mean to Redis, in keys and in the names of functions. It reads through
        all names in Redis, slice by slice: use tags where there are many.
        """
        if not pattern:
            raise UsageError("An empty text is no pattern.", "A pattern is a text such as 'users:list:*'.")
        return await self._tiers.drop(Drop(patterns=(pattern,)))

    async def clear(self) -> bool:
        """Forget everything under this cache's namespace, everywhere, and no other key; as `drop_tags`."""
        return await self._tiers.drop(Drop(everything=True))

    async def delivered(self, *, wait: str | float = "5s") -> None:
        """Return when Redis knows of every drop; raises DeadlinePassed when it still does not after `wait`."""
        delivery = self._tiers.far.delivery
        if delivery is not None:
            await delivery.delivered(seconds(wait))

    def follow(
        self,
        changes: Changes,
        shapes: Mapping[str, str | Iterable[str]],
        *,
        durable: str | None = None,
        unsure: Literal["refuse", "everything"] = "refuse",
    ) -> Following:
        """Drop tags by what is committed: `shapes` has templates over each table's columns, as decorators have.

            cache.follow(db.changes, {"users": "user:{id}", "orders": ["user:{user_id}:orders", "orders"]})

        One process of the service relays and all hear it. After a gap everything is dropped; `durable` names a
        place that the store keeps, so that there is none. `unsure` says what becomes of tables whose old rows do
        not tell all these columns: ready() refuses them, or each such change drops everything.
        """
        if unsure not in {"refuse", "everything"}:
            raise SettingInvalid("unsure", where="follow()", shown=repr(unsure), wanted="'refuse' or 'everything'")
        sees = changes.seen if isinstance(changes, Sees) else None
        store = Store(sees, changes.covered if isinstance(changes, Covers) else None)
        strict, namespace = unsure == "refuse", self._namespace
        made = Following(
            self._tiers, changes, Shapes(shapes), store, namespace=namespace, durable=durable, strict=strict
        )
        self._followings.append(made)
        return made

    def stats(self) -> Stats:
        """What this cache has done in this process, and how it stands."""
        return stats_of(self._tiers)

    async def explain(self, key: str) -> Explanation:
        """Where a key is, how old it is there, what it depends on, and who is loading it.

        `key` is one of `set`'s, or what a function's `key(…)` returns.
        """
        direct = _direct(key)[0]
        written = key_of(key[0], key[2:]).name if key[:2] in {"f:", "k:"} else key
        return await explanation_of(self._tiers, key, (written, direct))

    def clear_memory(self) -> None:
        """Forget what this process keeps; Redis and other processes keep what they have."""
        self._tiers.memory.clear()

    async def close(self) -> None:
        """End what is being loaded, forget what is in memory, and close a client that was made from a URL.

        A client or Tercet that was handed in stays open. The cache can be used again afterwards.
        """
        followings, self._followings = self._followings, []
        for one in followings:
            await one.close()
        await self._tiers.close()
        if self._own is not None:
            await self._own.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _ask(self, key: str, kind: object, *, tags: Iterable[str] = (), words: PolicyWords | None = None) -> Ask[Any]:
        rules = policy("This call", words, layers=self._layers, default=self._policy) if words else self._policy
        carried = plain(tags, of=f"the key {key!r}") if tags else ()
        try:
            codec = self._codecs[kind]
        except (KeyError, TypeError):
            codec = self._codec(kind)
        return Ask(*_direct(key), carried, codec, rules, "direct")

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


def _direct(key: object) -> tuple[str, str]:
    if not isinstance(key, str) or not key:
        raise UsageError(f"{key!r} is no cache key.", "A key is a text such as 'profile:42'.")
    if len(key) <= KEY_CHARS_MAX - len(SPACE) - 1:
        return f"{SPACE}:{key}", ""
    made = key_of(SPACE, key)
    return made.name, made.full
