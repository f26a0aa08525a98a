"""What the shared tier promises: entries, leases, tag versions, drops, and the bus that tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tercet.cache.moments.span import Beat, Record, Span

# How long a lease holds without being renewed: the longest that others wait for a process that was frozen, or
# whose death nobody can see. A loader that takes longer renews it at a third.
LEASE_SECONDS = 5.0

# What one read or fill may cost at most when Redis is slow: a healthy one answers in well under a millisecond, and
# whoever waits longer is better served by the loader. Connecting has a time of its own.
DEADLINE_SECONDS = 0.04

# The stated bound: a process that heard nothing may answer by itself for so long after it last asked.
TRUST_SECONDS = 2.0

# The version of every tag asked for; None where it has none.
Versions = dict[str, bytes | None]

# What a process counts, by name; None where there is nothing to count yet.
Figures: TypeAlias = "Mapping[str, float | None]"


@dataclass(frozen=True, slots=True)
class Drop:
    """What is no longer true."""

    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    # Globs as a user writes them, over direct keys and the names of functions; see glob.Globs.
    patterns: tuple[str, ...] = ()
    # All there is: clear().
    everything: bool = False
    # The commits because of which it is no longer true: while a load may not see them, what it brings is not kept.
    moments: tuple[Span, ...] = ()
    # The commits that are whole with this: all that they have made old was dropped.
    told: tuple[Span, ...] = ()
    # A relay's sign of life.
    beat: Beat | None = None
    # Who says so on the bus; nothing says the same of no one.
    origin: bytes = field(default=b"", compare=False)

    def __bool__(self) -> bool:
        return self.drops or bool(self.told) or self.beat is not None

    @property
    def drops(self) -> bool:
        """Whether anything is dropped by it; otherwise it only tells."""
        return bool(self.names or self.tags or self.patterns or self.everything)


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a miss: the entry, or leave to load it, or who is loading it."""

    # The entry as it is now, if there is one.
    frame: bytes | None
    # Ours: we may load and fill. None: there is an entry, or somebody else is loading.
    token: bytes | None
    # Who is loading, opaque; for `wait`.
    holder: bytes | None
    # Of the tags asked for, made where there were none, from before any load of ours.
    versions: Versions
    # What these tags were dropped for lately, as of a moment after their versions.
    records: Mapping[str, tuple[Record, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class BusState:
    """How the bus stands."""

    connected: bool = False
    # Seconds between a drop and its being heard here, by the server's clock and ours; None before the first.
    lag_seconds: float | None = None
    # The last message that was heard, as Redis numbers them.
    last_id: str = ""
    # Drops that were heard.
    heard: int = 0
    # How often some may have been missed, and everything was forgotten.
    gaps: int = 0
    # Messages that were none of ours, or could not be read.
    foreign: int = 0


class Shelf(Protocol):
    """A place that several processes share: entries, leases to load them, and a version for every tag.

    Every method costs one round trip, unless it says another number, and raises a StoreError within its
    deadline where the place is not there.
    """

    @property
    def origin(self) -> bytes:
        """What the drops of this process say on the bus of who makes them."""
        ...

    def read_one(self, name: str, *, big: bool = False) -> Awaitable[bytes | None]:
        """The entry of this name, or None; `big` reads it where large values keep no small ones waiting."""
        ...

    async def read(
        self, names: Sequence[str], tags: Sequence[str], *, big: bool = False
    ) -> tuple[Sequence[bytes | None], Versions]:
        """The entries of these names and the versions of these tags; None is not there."""
        ...

    async def versions(self, tags: Sequence[str]) -> Versions:
        """The versions of these tags; one that has none is given a new one, which nobody has ever seen."""
        ...

    async def lease(self, name: str, tags: Sequence[str], *, anew: bool = False, instead: bytes | None = None) -> Grant:
        """The entry; or else leave to load it, which one caller gets, of all processes.

        An entry of which the tags asked for say that it is no longer true counts as none; that costs a second
        round trip. `instead` is an entry that the caller has read and wants a newer one for, because it is
        stale or of another type: while it is still the one there, it counts as none too. `anew` asks for leave
        to load whatever there is, and takes it from whoever has it.
        """
        ...

    async def renew(self, name: str, token: bytes) -> bool:
        """Hold on to a lease for its time again; False when it is no longer ours."""
        ...

    async def release(self, name: str, token: bytes) -> None:
        """Give a lease back without filling: the load failed. Wakes those who wait."""
        ...

    async def fill(
        self, name: str, frame: bytes, seconds: float, tags: Sequence[str], token: bytes, *, tell: bool = False
    ) -> tuple[bool, Versions]:
        """Keep what was loaded for so long, give the lease back, and wake those who wait.

        False when the lease was taken away, as a drop does: then nothing is written. The versions are those
        from after it. `tell` tells the bus too, for a load that replaces what others may keep; another round trip.
        """
        ...

    async def wait(self, name: str, holder: bytes, seconds: float) -> None:
        """Return when it was filled, released or dropped, when its holder was seen dead, or after `seconds`."""
        ...

    async def write(self, name: str, frame: bytes, seconds: float, tags: Sequence[str]) -> tuple[bool, Versions]:
        """Keep an entry whatever is there, take away any lease on it, and tell the bus, in three round trips.

        False when somebody else wrote, loaded or dropped it meanwhile: then the old one is gone, and this one is
        not kept. Versions as in `fill`.
        """
        ...

    async def drop(self, drop: Drop) -> None:
        """Forget what is no longer true, and tell the bus; raises a StoreError when that is not certain.

        Its moments are remembered with its tags, for leases that are asked for afterwards.
        """
        ...

    async def settle(self, tags: Sequence[str], source: bytes, through: int, spans: Sequence[Span]) -> None:
        """What these tags were dropped for, and what all were, is settled up to there, and in these spans."""
        ...

    async def holder(self, name: str) -> str | None:
        """Who is loading this entry now, in words, and since when; None when nobody is."""
        ...

    def follow(self, hear: Callable[[Drop | None], None], trusted: Callable[[float], None]) -> None:
        """Listen to the bus in this event loop from now on; nothing when it is listened to already.

        `hear` is told every drop, one's own too, and None when some may have been missed: then everything is
        to be forgotten. `trusted` is told the moment, as the clock's `monotonic` counts, until which this
        process may answer by itself.
        """
        ...

    def report(self, figures: Callable[[], Figures]) -> None:
        """Let others see these figures of this process, asked for every other second while the bus is heard."""
        ...

    async def tried(self) -> None:
        """Return once the bus was heard in this loop, or has failed to be."""
        ...

    @property
    def bus(self) -> BusState:
        """How the bus stands."""
        ...

    def watch(self, connected: Callable[[], None]) -> None:
        """Tell this after each new connection: what was acknowledged shortly before may be lost."""
        ...

    async def close(self) -> None:
        """End what this shelf does in the background; it may be used again afterwards, in another event loop."""
        ...
