"""What a worker does: every way to ask a cache, and every way to tell it that something is no longer true."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from families import BY_GROUP, BY_KEY, FAMILIES, GROUPS, KEYS, LOADED, SET, Family, Value, ask_of
from judge import GLANCE, Glance

from tercet.errors import TercetError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from judge import Judge

    from tercet.cache import Cache, Cached

# What is done, and how often.
WEIGHTS = {
    "read": 6200, "many": 350, "get": 500, "get_many": 200, "peek": 250, "refresh": 150, "cancelled": 400,
    "write": 900, "write group": 120, "set": 500, "drop": 250, "drop_tags": 100, "drop_pattern": 6, "clear": 2,
    "clear_memory": 10, "delivered": 20,
}  # fmt: skip
# Loads: most are quick, some take their time, some take longer than the bound, and some fail.
QUICK_SECONDS, SLOW_SECONDS, ENDLESS_SECONDS = 0.004, 0.25, 3.0
SLOW_PART, ENDLESS_PART, FAILED_PART = 0.06, 0.002, 0.02
# A caller loses patience: mostly in the middle of a load, or of a command to Redis.
PATIENCE_SECONDS = 0.01
# The first keys are asked for more than the last ones of their family.
SKEW = 2.0
PATTERNS = ("plain", "tagg*", "loaded:*", "l*", "written:1*", "*e*")


class LoadFailed(Exception):
    """The source is away."""


class Actions:
    """All that one worker does to its cache."""

    def __init__(self, cache: Cache, judge: Judge, rng: random.Random, slots: int) -> None:
        self._cache, self._judge, self._truth = cache, judge, judge.truth
        self._rng, self._slots = rng, slots
        self._asks: dict[str, Cached[[int, int], Any]] = {}
        for family in FAMILIES:
            if family.how == "function":
                self._asks[family.name] = ask_of(cache, family, self._load)
        self._asks["tagged"].bulk(self._load_many)
        # Two writers of one value have no order among themselves: each set key has one writer at a time.
        self._turns = {key: asyncio.Lock() for key in SET}
        self._does: dict[str, Callable[[], Awaitable[None]]] = {
            "read": self.read, "many": self.many, "get": self.get, "get_many": self.get_many, "peek": self.peek,
            "refresh": self.refresh, "cancelled": self.cancelled, "write": self.write,
            "write group": self.write_group, "set": self.set, "drop": self.drop, "drop_tags": self.drop_tags,
            "drop_pattern": self.drop_pattern, "clear": self.clear, "clear_memory": self.clear_memory,
            "delivered": self.delivered,
        }  # fmt: skip
        self._names, self._weights = list(WEIGHTS), list(WEIGHTS.values())

    async def step(self) -> str:
        """Do one thing at random; what tercet refuses and what the source fails is part of it."""
        (name,) = self._rng.choices(self._names, self._weights)
        try:
            await self._does[name]()
        except (TercetError, LoadFailed):
            self._judge.count("errors")
        self._judge.count(name)
        self._judge.count("steps")
        return name

    # ---- what is true ----

    async def _load(self, key: int) -> Value:
        rng, family = self._rng, BY_KEY[key]
        self._judge.count("loads")
        lot = rng.random()
        longest = ENDLESS_SECONDS if lot < ENDLESS_PART else SLOW_SECONDS if lot < SLOW_PART else QUICK_SECONDS
        if longest > QUICK_SECONDS:
            self._judge.count("loads slow")
        # The source is read at some moment in between.
        await asyncio.sleep(rng.random() * longest)
        version = self._truth.version(key)
        await asyncio.sleep(rng.random() * longest)
        if rng.random() < FAILED_PART:
            self._judge.count("loads failed")
            raise LoadFailed
        return _value(family, key, version)

    async def _load_many(self, calls: list[tuple[int, int]]) -> dict[tuple[int, int], Value]:
        return {call: await self._load(call[0]) for call in calls}

    # ---- reads ----

    def _any(self, keys: Sequence[int]) -> int:
        return keys[int(len(keys) * self._rng.random() ** SKEW)]

    def _any_of_function(self) -> tuple[Family, int]:
        family = self._rng.choice([one for one in FAMILIES if one.how == "function"])
        return family, self._any(family.keys)

    def _begin(self) -> Glance:
        glance = Glance()
        GLANCE.set(glance)
        return glance

    async def _ask(self, key: int) -> object:
        family = BY_KEY[key]
        if family.how == "function":
            return await self._asks[family.name](key, key % GROUPS)
        label, tags = family.label(key), family.filled(key)
        return await self._cache.get_or_load(label, lambda: self._load(key), family.type, tags=tags)

    async def read(self) -> None:
        """Ask for one value that is loaded where there is none."""
        key = self._any(self._rng.choice([one for one in FAMILIES if one.how != "set"]).keys)
        (floor,) = self._judge.floors((key,))
        glance = self._begin()
        self._judge.weigh("read", key, await self._ask(key), floor, glance)

    async def many(self) -> None:
        """Ask a function for many at once."""
        family, _ = self._any_of_function()
        keys = list({self._any(family.keys) for _ in range(self._rng.randrange(1, 12))})
        floors = self._judge.floors(keys)
        glance = self._begin()
        values = await self._asks[family.name].many([(key, key % GROUPS) for key in keys])
        for key, value, floor in zip(keys, values, floors, strict=True):
            self._judge.weigh("many", key, value, floor, glance)

    async def get(self) -> None:
        """Ask for what was set."""
        key = self._any(self._rng.choice([one for one in FAMILIES if one.how == "set"]).keys)
        (floor,) = self._judge.floors((key,))
        glance = self._begin()
        value = await self._cache.get(BY_KEY[key].label(key), BY_KEY[key].type)
        if value is not None:
            self._judge.weigh("get", key, value, floor, glance)

    async def get_many(self) -> None:
        """Ask for much of what was set."""
        family = self._rng.choice([one for one in FAMILIES if one.how == "set"])
        keys = {family.label(key): key for key in (self._any(family.keys) for _ in range(8))}
        floors = dict(zip(keys.values(), self._judge.floors(keys.values()), strict=True))
        glance = self._begin()
        values = await self._cache.get_many(keys, family.type)
        for label, value in values.items():
            self._judge.weigh("get_many", keys[label], value, floors[keys[label]], glance)

    async def peek(self) -> None:
        """Ask a function for what is there."""
        family, key = self._any_of_function()
        (floor,) = self._judge.floors((key,))
        glance = self._begin()
        found = await self._asks[family.name].peek(key, key % GROUPS)
        if found is not None:
            self._judge.weigh("peek", key, found.value, floor, glance)

    async def refresh(self) -> None:
        """Load anew whatever is there: what was true at the beginning, or newer."""
        family, key = self._any_of_function()
        floor = self._truth.version(key)
        glance = self._begin()
        value = await self._asks[family.name].refresh(key, key % GROUPS)
        self._judge.weigh("refresh", key, value, floor, glance)

    async def cancelled(self) -> None:
        """Do something and lose patience."""
        does = self._rng.choice([self.read, self.read, self.read, self.many, self.refresh, self.write, self.set])
        task = asyncio.create_task(_quietly(does()))
        await asyncio.sleep(self._rng.random() * PATIENCE_SECONDS)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    # ---- drops and writes ----

    def _owned(self, keys: Sequence[int]) -> list[int]:
        """Those that this worker may change."""
        return [key for key in keys if key % self._slots == self._judge.slot]

    async def _dropped(self, keys: Sequence[int], drop: Callable[[], Awaitable[bool | None]]) -> None:
        """Drop: from here on nothing older than now for us, and for others once it is acknowledged."""
        versions = [self._truth.version(key) for key in keys]
        try:
            done = await drop()
        finally:
            # Also when it failed or was cancelled: here it was done at once.
            self._judge.raise_floors(keys, versions)
        if done is False:
            self._judge.count("drops kept")
        else:
            self._judge.acknowledge(keys, versions)
            self._judge.count("drops acknowledged")

    def _drop_one(self, key: int) -> Callable[[], Awaitable[bool | None]]:
        family = BY_KEY[key]
        if family.tags and self._rng.random() < 0.5 and family.tags[0].startswith("row"):
            return lambda: self._cache.drop_tags(f"row:{key}")
        if family.how == "function":
            return lambda: self._asks[family.name].drop(key, key % GROUPS)
        return lambda: self._cache.drop(family.label(key))

    async def write(self) -> None:
        """Change what is true and drop what is not."""
        key = self._any(self._owned(self._rng.choice([one for one in FAMILIES if one.how != "set"]).keys))
        self._truth.bump(key)
        await self._dropped((key,), self._drop_one(key))

    async def write_group(self) -> None:
        """Change all that carry a tag and drop the tag."""
        group = self._rng.randrange(GROUPS)
        for key in self._owned([key for key in BY_GROUP[group] if BY_KEY[key].how != "set"]):
            self._truth.bump(key)
        await self._drop_group(group)

    async def _drop_group(self, group: int) -> None:
        carry = [key for key in BY_GROUP[group] if any("group" in tag for tag in BY_KEY[key].tags)]
        await self._dropped(carry, lambda: self._cache.drop_tags(f"group:{group}"))

    async def set(self) -> None:
        """Change what is true by writing it into the cache."""
        key = self._any(self._owned(self._rng.choice([one for one in FAMILIES if one.how == "set"]).keys))
        family = BY_KEY[key]
        async with self._turns[key]:
            version = self._truth.bump(key)
            value = _value(family, key, version)
            kept = await self._cache.set(family.label(key), value, type=family.type, tags=family.filled(key))
            self._judge.raise_floors((key,), (version,))
            if kept is False:
                self._judge.count("sets kept")
            else:
                self._judge.acknowledge((key,), (version,))
                self._judge.count("sets acknowledged")

    async def drop(self) -> None:
        """Drop what may well be true."""
        key = self._any(LOADED if self._rng.random() < 0.7 else SET)
        await self._dropped((key,), self._drop_one(key))

    async def drop_tags(self) -> None:
        """Drop a tag that many carry."""
        await self._drop_group(self._rng.randrange(GROUPS))

    async def drop_pattern(self) -> None:
        """Drop by a glob over direct keys and names of functions."""
        pattern = self._rng.choice(PATTERNS)
        keys = [key for key in range(KEYS) if _matches(pattern, key)]
        await self._dropped(keys, lambda: self._cache.drop_pattern(pattern))

    async def clear(self) -> None:
        """Drop everything."""
        await self._dropped(range(KEYS), self._cache.clear)

    async def clear_memory(self) -> None:
        """Forget what is here."""
        self._cache.clear_memory()

    async def delivered(self) -> None:
        """Wait for what was kept."""
        await self._cache.delivered(wait=0.5)


def _matches(pattern: str, key: int) -> bool:
    """Whether a glob of stars alone means this key; written down once more, to see that they agree."""
    family = BY_KEY[key]
    text = family.name if family.how == "function" else family.label(key)
    pieces = pattern.split("*")
    if len(pieces) == 1:
        return text == pattern
    if not text.startswith(pieces[0]) or not text.endswith(pieces[-1]):
        return False
    return all(piece in text for piece in pieces)


def _value(family: Family, key: int, version: int) -> Value:
    return [key, version] if family.type == list[int] else (key, version, "x" * family.padding)


async def _quietly(work: Awaitable[None]) -> None:
    try:
        await work
    except (TercetError, LoadFailed):
        return
