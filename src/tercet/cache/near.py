"""The tier of this process: what memory shows to whom, and for how long it may be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tercet.cache.encoding.codec import Undecodable
from tercet.cache.entry import Ask, Sight
from tercet.cache.memory import Memory, Times
from tercet.cache.moments import Recent
from tercet.cache.shelf import TRUST_SECONDS, Globs
from tercet.cache.state import State, draw, early
from tercet.cache.stats import Copy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.cache.shelf import Drop

T = TypeVar("T")

_EVER = float("inf")


class Near:
    """Memory with the rules of time and trust.

    Alone, it knows of every drop there is. Beside a shelf it answers as long as the bus is heard; when that
    falls silent, only with what was known to be true TRUST_SECONDS ago.
    """

    def __init__(self, memory: Memory, now: Callable[[], float], *, alone: bool) -> None:
        self.memory = memory
        self._now = now
        self.alone = alone
        # What was told of commits: a load that may not have seen them fills nothing.
        self.recent = Recent(now)
        if not alone:
            memory.trusted_until = -_EVER

    @property
    def trusted(self) -> bool:
        """Whether the bus says that nothing was missed."""
        return self.memory.trusted_until > self._now()

    def trust(self, until: float) -> None:
        """Nothing that was told is missed before then; where a relay is silent, not all was told."""
        self.memory.trusted_until = min(until, self.recent.until)

    def settle_alone(self) -> None:
        """There is no shelf after all: memory is the only tier."""
        self.alone = True
        self.memory.trusted_until = _EVER

    def see(self, ask: Ask[T]) -> Sight[T] | None:
        """What memory has of this, fresh or stale, and whether it may answer by itself."""
        slot = self.memory.find(ask.name)
        if slot is None or (ask.tags != slot.tags and not set(ask.tags) <= set(slot.tags)):
            return None
        value, body = slot.value, slot.body
        if slot.schema != ask.codec.schema:
            # Of another type: something for this asker only if its bytes can be read as theirs.
            if body is None or not _reads(ask, slot.schema, body):
                return None
            value = None
        now = self._now()
        left = slot.fresh - now
        found = State.STALE if left <= 0.0 else State.DUE if slot.due <= now else State.FRESH
        known = self.memory.trusted_until > now or slot.untrusted_until > now
        settled = known and (found is not State.FRESH or slot.until > now)
        if settled and found is State.FRESH and ask.index is not None and ask.raw is not None:
            self.memory.place(slot, ask.index, ask.raw)
        grace = slot.spent - slot.fresh
        return Sight("memory", ask.codec, value, body, found, settled, slot.tags, slot.size, left, grace)

    def keep(self, ask: Ask[T], sight: Sight[T], *, at: float) -> None:
        """Keep what was known to be true at the moment `at`, as long as its policy says."""
        rules, until, untrusted = ask.policy, _EVER, _EVER
        if not self.alone:
            if rules.memory == 0.0:
                return
            until, untrusted = at + rules.memory * (1.0 - rules.jitter * draw()), at + TRUST_SECONDS
        fresh = at + sight.left
        due = fresh - early(sight.load_seconds, rules.early, draw())
        until = min(until, fresh, due)
        self.memory.put(
            ask.name,
            schema=ask.codec.schema,
            value=sight.value if ask.codec.immutable else None,
            body=None if ask.codec.immutable else sight.body,
            size=sight.size,
            times=Times(until, untrusted, due, fresh, fresh + sight.grace),
            tags=sight.tags,
            index=ask.index,
            raw=ask.raw,
        )

    def examine(self, name: str) -> Copy | None:
        """What memory has under this name, in words."""
        slot = self.memory.find(name)
        if slot is None:
            return None
        left = slot.fresh - self._now()
        found = State.STALE if left <= 0.0 else State.DUE if slot.due <= self._now() else State.FRESH
        return Copy("memory", found.value, left, slot.spent - slot.fresh, slot.size, slot.tags)

    def drop(self, drop: Drop | None) -> None:
        """Forget what is no longer true, and remember why; everything where that is not known."""
        if drop is None or drop.everything:
            self.memory.clear()
            if drop is not None:
                self.recent.hear(drop)
            return
        self.memory.drop(drop.names)
        self.memory.drop_tags(drop.tags)
        if drop.patterns:
            self.memory.drop_where(Globs(drop.patterns).match)
        self.recent.hear(drop)


def _reads(ask: Ask[T], schema: bytes, body: bytes) -> bool:
    if not ask.codec.reads(schema):
        return False
    try:
        ask.codec.decode(body)
    except Undecodable:
        return False
    return True
