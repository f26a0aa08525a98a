"""What the cache does for one decorated function: asks, loads, bulk loads."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from tercet.cache.encoding.key import key_of
from tercet.cache.encoding.tags import Template, filled
from tercet.cache.entry import Ask, Sight
from tercet.cache.functions.compiled import Compiler
from tercet.cache.functions.writing import writing
from tercet.cache.shelf import Drop
from tercet.errors import Uncacheable, UsageError
from tercet.telemetry import CacheRead

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from tercet.cache.encoding.codec import Codec
    from tercet.cache.entry import Policy
    from tercet.cache.functions.binder import Binder
    from tercet.cache.memory import Slot
    from tercet.cache.tiers import Tiers

R = TypeVar("R")

# The space of keys that belong to functions; those that people write themselves have their own.
SPACE = "f"


class Work(Generic[R]):
    """One decorated function: what the cache does for it."""

    def __init__(
        self,
        function: Callable[..., Awaitable[R]],
        tiers: Tiers,
        binder: Binder,
        *,
        name: str,
        codec: Codec[R],
        found: tuple[Template, ...],
        policy: Policy,
    ) -> None:
        self.name, self.policy, self.called = name, policy, binder.function
        self.values = binder.values()
        self._tiers, self._binder, self._codec, self._templates = tiers, binder, codec, found
        self._hand: Callable[[object, tuple[object, ...]], Awaitable[R]] = binder.hand(function)
        self._bulk: Callable[[object, list[object]], Awaitable[Mapping[Any, R]]] | None = None
        # Where the function finds its entries in this process by their arguments alone.
        self._index: dict[object, Slot] = {}
        self.ask: Callable[[tuple[object, ...]], Ask[R]] = self._ask_slowly
        self._sweep: Callable[[object, list[object]], tuple[list[R], list[Ask[R]], list[int]]] = self._sweep_slowly
        self.call: Callable[..., Coroutine[Any, Any, R]] | None = None
        written = writing(binder, found, f"{SPACE}:{name}")
        if written is not None:
            compiler = Compiler(binder, written, immutable=codec.immutable, names=self._names())
            self.ask, self._sweep, self.call = compiler.asking(), compiler.sweep(), compiler.call()
            self.call.__qualname__ = self.called

    def fetch(self, owner: object, values: tuple[object, ...], *, anew: bool = False) -> Coroutine[Any, Any, R]:
        """The result for these values; a flight belongs to the key, and whoever comes first lends its owner."""
        tiers, ask = self._tiers, self.ask(values)
        if anew:
            return tiers.fetch(ask, lambda: self._hand(owner, values), anew=True)
        return tiers.straight.fetch(ask, lambda: self._hand(owner, values))

    async def drop(self, values: tuple[object, ...]) -> bool:
        """Forget the result for these values."""
        return await self._tiers.drop(Drop(names=(self.ask(values).name,)))

    async def look(self, values: tuple[object, ...]) -> Sight[R] | None:
        """What there is for these values, without loading."""
        return await self._tiers.look(self.ask(values))

    async def many(self, owner: object, items: list[object]) -> list[R]:
        """The results for many items: from memory, and the rest by one question."""
        begun = self._tiers.clock.monotonic()
        found, asks, places = self._sweep(owner, items)
        if self._tiers.telemetry.heard:
            for _ in range(len(items) - len(asks)):
                self._tell(begun)
        if not asks:
            return found
        wanted = {ask.name: place for ask, place in zip(asks, places, strict=True)}
        if len(wanted) == len(asks):
            for place, answer in zip(places, await self._rest(owner, items, asks, places), strict=True):
                found[place] = answer
            return found
        once = {ask.name: ask for ask in asks}
        answers = dict(
            zip(once, await self._rest(owner, items, list(once.values()), list(wanted.values())), strict=True)
        )
        for ask, place in zip(asks, places, strict=True):
            # Of what is asked for twice, each is its own: who changes one does not change the other.
            answer = answers[ask.name]
            found[place] = answer if wanted[ask.name] == place else self._twin(answer)
        return found

    async def _rest(self, owner: object, items: list[object], asks: Sequence[Ask[R]], places: Sequence[int]) -> list[R]:
        """Ask for what memory does not have; `places` says which items these are."""

        def load_one(number: int) -> Awaitable[R]:
            return self._hand(owner, self._values_of(owner, items[places[number]]))

        bulk = self._bulk
        if bulk is None:
            return await self._tiers.straight.fetch_many(asks, load_one, None)

        async def load_many(numbers: Sequence[int]) -> Mapping[int, R]:
            ids = [self._id_of(owner, items[places[number]]) for number in numbers]
            given: object = await bulk(owner, list(ids))
            if not isinstance(given, Mapping):
                raise UsageError(
                    f"The bulk loader of {self.called}() returned a {type(given).__name__}.",
                    "Return a dict from each argument to its result.",
                )
            none = {} if not self._codec.takes_none else dict.fromkeys(numbers)
            loaded = {number: given[one] for number, one in zip(numbers, ids, strict=True) if one in given}
            return cast("Mapping[int, R]", {**none, **loaded})

        return await self._tiers.straight.fetch_many(asks, load_one, load_many)

    def add_bulk(self, loader: Callable[..., Awaitable[Mapping[Any, Any]]]) -> None:
        """Load many by this function from now on."""
        if not inspect.iscoroutinefunction(loader):
            raise UsageError(
                f"The bulk loader of {self.called}() is not an async function.", "Define it with 'async def'."
            )
        if self._binder.open_ended:
            raise UsageError(
                f"{self.called}() takes any number of arguments, and no list of them can be told apart.",
                "Name its parameters to load many at once.",
            )
        if self._bulk is not None:
            raise UsageError(f"{self.called}() has a bulk loader already.", "Give it one.")
        self._bulk = loader if self._binder.owner else lambda _, ids: loader(ids)

    def _ask_slowly(self, values: tuple[object, ...]) -> Ask[R]:
        """What is asked for, as the rules of keys and tags define it; what was compiled does the same, faster."""
        key = key_of(SPACE, self.name + self._binder.text(values))
        tags = filled(self._templates, self._binder.names, values)
        raw = self._binder.fast(values)
        return Ask(key.name, key.full, tags, self._codec, self.policy, self.name, self._index, raw)

    def _sweep_slowly(self, owner: object, items: list[object]) -> tuple[list[Any], list[Ask[R]], list[int]]:
        asks = [self._ask_slowly(self._values_of(owner, item)) for item in items]
        return [None] * len(items), asks, list(range(len(items)))

    def _values_of(self, owner: object, item: object) -> tuple[object, ...]:
        """The values of one item of a bulk read."""
        if len(self._binder.arguments) == 1 and not self._binder.open_ended:
            return (*self._binder.read(owner), item)
        if isinstance(item, tuple):
            return self.values(owner, *item)
        return self.values(owner, **item) if isinstance(item, dict) else self.values(owner, item)

    def _id_of(self, owner: object, item: object) -> object:
        """What a bulk loader knows an item by: its argument, or the tuple of them."""
        arguments = self._values_of(owner, item)[self._binder.owned :]
        return arguments[0] if len(arguments) == 1 else arguments

    def _twin(self, value: R) -> R:
        if self._codec.immutable:
            return value
        try:
            return self._codec.copy(self._codec.encode(value, of=self.called))
        except Uncacheable:
            # Handed on as the loader returned it, and never kept.
            return value

    def _tell(self, since: float) -> None:
        tiers = self._tiers
        tiers.telemetry.tell(CacheRead(self.name, "memory", tiers.clock.monotonic() - since, "ok"))

    def _names(self) -> dict[str, object]:
        """What the compiled code refers to."""
        return {
            "index": self._index,
            "find": self._index.get,
            "memory": self._tiers.memory,
            "counts": self._tiers.counts,
            "now": self._tiers.clock.monotonic,
            "telemetry": self._tiers.telemetry,
            "tell": self._tell,
            "copy": self._codec.copy,
            "codec": self._codec,
            "policy": self.policy,
            "label": self.name,
            "slow": self._ask_slowly,
            "take": self._values_of,
            "fetch": self.fetch,
        }
