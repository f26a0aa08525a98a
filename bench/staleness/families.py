"""What is cached: some hundreds of keys in families, each cached in a way of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tercet.errors import UsageError

if TYPE_CHECKING:
    from tercet.cache import Cache, Cached

# Keys of different families share a group: one drop takes some of each.
GROUPS = 24

# The key, the version, and for some a filling.
Value = list[int] | tuple[int, int, str]
Load = Callable[[int], Awaitable[Value]]


@dataclass(frozen=True)
class Family:
    """Keys that are cached in one way: by a function, by get_or_load, or by set."""

    name: str
    size: int
    how: str = "function"
    tags: tuple[str, ...] = ()
    # A list is decoded for each caller, a tuple is shared by all.
    type: object = list[int]
    padding: int = 0
    words: Mapping[str, Any] = field(default_factory=dict)
    first: int = 0

    @property
    def keys(self) -> range:
        """The numbers of its keys."""
        return range(self.first, self.first + self.size)

    @property
    def excusable(self) -> bool:
        """Whether it may show what has ended when Redis is away and its loader fails."""
        return "stale" in self.words

    def label(self, key: int) -> str:
        """What a direct key is called."""
        return f"{self.name}:{key}"

    def filled(self, key: int) -> tuple[str, ...]:
        """The tags of a direct key."""
        return tuple(tag.format(key=key, group=key % GROUPS) for tag in self.tags)


_ROW, _GROUP = "row:{key}", "group:{group}"
_TUPLE = tuple[int, int, str]


def _placed(*families: Family) -> tuple[Family, ...]:
    first, placed = 0, []
    for family in families:
        placed.append(Family(**{**vars(family), "first": first}))
        first += family.size
    return tuple(placed)


FAMILIES = _placed(
    Family("plain", 60, type=_TUPLE),
    Family("tagged", 80, tags=(_ROW, _GROUP)),
    Family("grouped", 40, tags=(_GROUP,), type=_TUPLE, words={"ttl": 3.0, "early": 4.0}),
    Family("brief", 30, tags=(_ROW, _GROUP), words={"ttl": 1.0, "stale": 3.0}),
    Family("patient", 20, words={"ttl": 1.0, "stale": 5.0, "soft_timeout": 0.05, "hard_timeout": 2.5}),
    Family("throttled", 20, tags=(_GROUP,), words={"ttl": 2.0, "throttle": 0.2}),
    Family("remote", 12, tags=(_ROW,), words={"memory": 0.0}),
    Family("big", 6, tags=(_GROUP,), type=_TUPLE, padding=40_000),
    Family("loaded", 30, how="load"),
    Family("labelled", 30, how="load", tags=(_ROW, _GROUP)),
    Family("written", 30, how="set"),
    Family("filed", 30, how="set", tags=(_GROUP,)),
    Family("heavy", 4, how="set", type=_TUPLE, padding=40_000),
)
KEYS = sum(family.size for family in FAMILIES)
BY_KEY = tuple(family for family in FAMILIES for _ in family.keys)
BY_GROUP = tuple(tuple(key for key in range(KEYS) if key % GROUPS == group) for group in range(GROUPS))
# Those whose values come from a loader: what is true of them may change at any time.
LOADED = tuple(key for key in range(KEYS) if BY_KEY[key].how != "set")
SET = tuple(key for key in range(KEYS) if BY_KEY[key].how == "set")


def ask_of(cache: Cache, family: Family, load: Load) -> Cached[[int, int], Any]:
    """The decorated function of a family."""

    async def ask(key: int, group: int) -> Value:
        return await load(key)

    try:
        made = cache(tags=family.tags, name=family.name, type=family.type, **family.words)(ask)
    except UsageError as error:
        raise SystemExit(f"the family {family.name} cannot be cached: {error}") from error
    return made
