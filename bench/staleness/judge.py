"""The judge: no value may be older than the last acknowledged invalidation before its read, and the bound."""

from __future__ import annotations

import contextvars
import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from families import BY_KEY

from tercet.telemetry import CacheRead, Event, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from truth import Truth

_now = time.monotonic

# A failover that loses what was acknowledged is beyond every bound: whoever dropped tells the new server, when he has
# found it. Within this it must be over; tried only where nothing else goes wrong.
HEALED_SECONDS = 3.0


@dataclass
class Glance:
    """What tercet tells while one read goes on."""

    begun: float = field(default_factory=_now)
    tiers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def excused(self) -> bool:
        """The one exception that is documented: Redis did not answer, the loader failed, and `stale` allows it."""
        return "read" in self.notes and "stale instead of an error" in self.notes


@dataclass(frozen=True)
class Violation:
    """What nobody should have been shown, and all that is known about it."""

    what: str
    action: str
    slot: int
    process: int
    key: int
    family: str
    returned: object
    wanted: int
    true: int
    age: float
    begun: float
    ended: float
    tiers: list[str]
    notes: list[str]


# One for each task; the tasks that the cache starts for a read share it.
GLANCE: contextvars.ContextVar[Glance] = contextvars.ContextVar("glance")


class Judge:
    """Compares what one worker reads with what is true."""

    def __init__(self, truth: Truth, slot: int, process: int, bound: float, into: Path) -> None:
        self.truth, self.slot, self.bound = truth, slot, bound
        self._process, self._into = process, into
        # What this worker has dropped itself: that it must see at once.
        self._floors: dict[int, int] = {}

    def hear(self, event: Event) -> None:
        """Listen to tercet's telemetry."""
        glance = GLANCE.get(None)
        if isinstance(event, CacheRead):
            if event.outcome == "ok":
                self.count(f"from {event.tier}")
                if glance is not None:
                    glance.tiers.append(event.tier)
        elif isinstance(event, Operation) and event.room == "cache":
            if event.name == "stale instead of an error":
                self.count("stale shown")
            if glance is not None:
                glance.notes.append(event.name)

    def count(self, name: str, by: int = 1) -> None:
        """Count something."""
        self.truth.count(self.slot, name, by)

    def floors(self, keys: Iterable[int]) -> list[int]:
        """What reads of these keys that begin now must at least show, by this worker's own drops."""
        return [self._floors.get(key, 0) for key in keys]

    def raise_floors(self, keys: Iterable[int], versions: Iterable[int]) -> None:
        """This worker has dropped these, and must not see what was before."""
        for key, version in zip(keys, versions, strict=True):
            if version > self._floors.get(key, 0):
                self._floors[key] = version

    def acknowledge(self, keys: Iterable[int], versions: Iterable[int]) -> None:
        """It was acknowledged, now, that nothing older than these versions is true."""
        moment = _now()
        for key, version in zip(keys, versions, strict=True):
            self.truth.acknowledge(self.slot, key, version, moment, bound=self.bound)

    def weigh(self, action: str, key: int, value: object, floor: int, glance: Glance) -> None:
        """Say whether a value could be shown to somebody who asked when this glance began."""
        truth = self.truth
        self.count("values")
        if not isinstance(value, list | tuple) or value[0] != key:
            self._violated("another key's value", action, key, value, 0, 0.0, glance)
            return
        version = value[1]
        true = truth.version(key)
        if version == true:
            return
        if version > true:
            self._violated("a value that never was", action, key, version, true, 0.0, glance)
            return
        age, newer = truth.age(key, version, glance.begun)
        if version < floor:
            self._violated("older than its reader's own drop", action, key, version, floor, age, glance)
        elif age <= self.bound:
            self.count("older, within bound")
            truth.seen(self.slot, age)
        elif truth.set_back_at and _now() - truth.set_back_at < HEALED_SECONDS:
            self.count("after a set back")
        elif glance.excused and BY_KEY[key].excusable:
            self.count("excused")
        else:
            self._violated("older than the bound", action, key, version, newer, age, glance)

    def complain(self, what: str, action: str) -> None:
        """Something else that must not happen."""
        self._violated(what, action, 0, None, 0, 0.0, GLANCE.get(Glance()))

    def _violated(
        self, what: str, action: str, key: int, returned: object, wanted: int, age: float, glance: Glance
    ) -> None:
        self.count("violations")
        found = Violation(
            what,
            action,
            self.slot,
            self._process,
            key,
            BY_KEY[key].name,
            returned,
            wanted,
            self.truth.version(key),
            age,
            glance.begun,
            _now(),
            glance.tiers[-5:],
            glance.notes[-10:],
        )
        with self._into.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(found), default=repr) + "\n")
