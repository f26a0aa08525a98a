"""What Redis knows of one cache, for people: how much lies there, who loads what, who lives, what was dropped."""

from __future__ import annotations

import asyncio
import difflib
import heapq
import random
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.cache.shelf.census import Report, reports
from tercet.cache.shelf.gather import every
from tercet.cache.shelf.glob import DIRECT
from tercet.cache.shelf.layout import Layout, message
from tercet.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.cache.shelf.port import Drop
    from tercet.wire import Wire

# What is read before it is called enough: some hundred milliseconds of a server's time, in slices that hold
# nobody up. Keys that are not ours cost time and are not counted, so time has a bound too.
KEYS_MAX = 200_000
WALK_SECONDS = 5.0
KEYS_A_SLICE = 1_000

# Names by which sizes are told apart; more are counted together.
GROUPS_MAX = 500
# Entries of one name whose sizes are asked for: their mean is within a quarter mostly.
SAMPLE = 16
# Loads that are shown at once.
LOADING_MAX = 20
# Messages that are looked through for the last drop; the others say that somebody has begun to listen.
MESSAGES_LOOKED = 100

# Names that are compared in search of a similar one, and how many of them closely, which is slow.
SIMILAR_KEYS = 20_000
SIMILAR_CLOSELY = 50
# As alike as a misspelt word and the word.
ALIKE = 0.5

# What is counted together where names are too many.
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Group:
    """The entries of one function, or the keys with one beginning; bytes by a sample."""

    name: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Loading:
    """An entry that is being loaded, by whom, and for how long by the server's clock."""

    name: str
    who: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Survey:
    """What Redis knows of one namespace. Where it was `cut`, names that were not read are not counted."""

    entries: int
    leases: int
    tags: int
    cut: bool
    bytes: int
    # The largest first.
    groups: tuple[Group, ...]
    loading: tuple[Loading, ...]
    # The bus: how many messages it keeps, and its last drop with its age.
    messages: int
    last_drop: Drop | None
    last_drop_seconds: float | None
    processes: tuple[Report, ...]


async def survey(wire: Wire, namespace: str, *, everything: bool = False) -> Survey:
    """Ask Redis how a cache does; `everything` reads all names, however many. Raises a StoreError."""
    layout = Layout(namespace)
    seen = _Seen(layout)
    whole = await _walk(
        wire,
        layout.scan("elt"),
        seen.take,
        most=None if everything else KEYS_MAX,
        within=None if everything else WALK_SECONDS,
    )
    groups = await _weighed(wire, seen.groups)
    messages, last, age = await _bus(wire, layout)
    return Survey(
        entries=seen.entries,
        leases=seen.leases,
        tags=seen.tags,
        cut=not whole,
        bytes=sum(group.bytes for group in groups),
        groups=tuple(sorted(groups, key=lambda group: (-group.bytes, group.name))),
        loading=await _loading(wire, layout, seen.leased),
        messages=messages,
        last_drop=last,
        last_drop_seconds=age,
        processes=await reports(wire, layout),
    )


async def similar(wire: Wire, namespace: str, key: str, *, most: int = 5) -> tuple[str, ...]:
    """Keys that are there and look like this one, the most alike first; of a large cache, among some of them."""
    layout = Layout(namespace)
    wanted = _shown(key)
    parts = _parts(wanted)
    likely: dict[str, int] = {}

    def see(keys: Sequence[bytes]) -> None:
        for one in keys:
            name = _shown(layout.name(one))
            likely[name] = len(parts & _parts(name))

    await _walk(wire, layout.scan("el"), see, most=SIMILAR_KEYS, within=WALK_SECONDS)
    closely = heapq.nlargest(SIMILAR_CLOSELY, likely, key=lambda name: (likely[name], name))
    return tuple(difflib.get_close_matches(wanted, closely, n=most, cutoff=ALIKE))


@dataclass(slots=True)
class _Group:
    """Entries of one name, and some of their keys, each as likely as the others."""

    entries: int = 0
    sample: list[bytes] = field(default_factory=list)

    def add(self, key: bytes) -> None:
        self.entries += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(key)
        elif (place := random.randrange(self.entries)) < SAMPLE:  # noqa: S311 - a sample guards nothing
            self.sample[place] = key


class _Seen:
    """What a walk has come across so far."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._entry, self._lease = (f"{layout.prefix}{kind}:".encode() for kind in "el")
        self.entries = self.leases = self.tags = 0
        self.leased: list[bytes] = []
        self.groups: dict[str, _Group] = {}

    def take(self, keys: Sequence[bytes]) -> None:
        """Count these keys."""
        for key in keys:
            if key.startswith(self._entry):
                self.entries += 1
                self._group(self._layout.name(key)).add(key)
            elif key.startswith(self._lease):
                self.leases += 1
                if len(self.leased) < LOADING_MAX:
                    self.leased.append(key)
            else:
                self.tags += 1

    def _group(self, name: str) -> _Group:
        title = group_of(name)
        if title not in self.groups and len(self.groups) >= GROUPS_MAX:
            title = OTHERS
        return self.groups.setdefault(title, _Group())


def group_of(name: str) -> str:
    """What an entry is counted under: its function, or a key's first word and a star."""
    space, _, text = name.partition(":")
    if space.lower() != DIRECT:
        return text.partition("(")[0].partition("[")[0] + "()"
    word, colon, _ = text.partition(":")
    return f"{word}:*" if colon else "*"


async def _walk(
    wire: Wire, match: bytes, see: Callable[[Sequence[bytes]], None], *, most: int | None, within: float | None
) -> bool:
    """Read names, so many and so long at most; whether these were all."""
    read = 0
    try:
        async with asyncio.timeout(within) as limit, aclosing(wire.scan(match, count=KEYS_A_SLICE)) as slices:
            async for keys in slices:
                if most is not None and read >= most:
                    return False
                see(keys)
                read += len(keys)
    except TimeoutError:
        if not limit.expired():
            raise
        return False
    return True


async def _weighed(wire: Wire, groups: dict[str, _Group]) -> list[Group]:
    """The groups with their bytes in Redis, as their samples say."""
    found = []
    for name, group in groups.items():
        sizes = [size for size in await _sizes(wire, group.sample) if size]
        mean = sum(sizes) / len(sizes) if sizes else 0.0
        found.append(Group(name, group.entries, round(mean * group.entries)))
    return found


async def _sizes(wire: Wire, keys: Sequence[bytes]) -> list[int | None]:
    """What each costs Redis; where that may not be asked, the length of its value."""
    try:
        return await every(wire.call("MEMORY", "USAGE", key, key=key) for key in keys)
    except CommandRefused:
        return await every(wire.call("STRLEN", key, key=key) for key in keys)


async def _loading(wire: Wire, layout: Layout, leases: Sequence[bytes]) -> tuple[Loading, ...]:
    """Who loads what, the longest first; what has ended meanwhile is left out."""
    found = []
    for lease in leases:
        held, now = await every(
            (wire.call("HMGET", lease, "who", "since", key=lease), wire.call("TIME", key=lease)),
        )
        if held[0] is not None and held[1] is not None:
            seconds = int(now[0]) + int(now[1]) / 1e6 - int(held[1]) / 1e3
            who = held[0].decode(errors="replace")
            found.append(Loading(_shown(layout.name(lease)), who, max(0.0, seconds)))
    return tuple(sorted(found, key=lambda one: -one.seconds))


async def _bus(wire: Wire, layout: Layout) -> tuple[int, Drop | None, float | None]:
    """How many messages the bus keeps, its last drop, and how many seconds ago that was."""
    count, rows, now = await every(
        (
            wire.call("XLEN", layout.bus, key=layout.bus),
            wire.call("XREVRANGE", layout.bus, "+", "-", "COUNT", MESSAGES_LOOKED, key=layout.bus),
            wire.call("TIME", key=layout.bus),
        )
    )
    for number, fields in rows:
        drop = message(fields[1]) if fields and fields[0] == b"d" else None
        if drop is not None and drop.drops:
            sent = int(number.partition(b"-")[0]) / 1000
            return count, drop, max(0.0, int(now[0]) + int(now[1]) / 1e6 - sent)
    return count, None, None


def _shown(name: str) -> str:
    """A name as the key that one asks for: direct keys as they were given."""
    return name[len(DIRECT) + 1 :] if name.startswith(f"{DIRECT}:") else name


def _parts(text: str) -> set[str]:
    """All that three letters of it in a row say; what two names share of these is how alike they look."""
    return {text[place : place + 3].lower() for place in range(max(1, len(text) - 2))}
