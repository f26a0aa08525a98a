"""Settling: what was dropped is said to be settled once the store's primary shows it, and told again until it does."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.cache.moments.span import WINDOW_SECONDS, digest, folded
from tercet.cache.shelf import Drop
from tercet.errors import NotOpen, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.cache.moments import Span
    from tercet.cache.tiers import Tiers
    from tercet.witness import Seen

# How long after a drop the primary is first asked, and how often at most: all that was dropped meanwhile is asked
# for at once, and a commit that is not to be seen after this long waits for something else than our question.
SETTLE_SECONDS = (0.05, 1.0)

# What stays invisible is told again before anybody forgets it: a standby that is waited for can be down for hours.
RETELL_SECONDS = WINDOW_SECONDS / 2

# Drops that are not settled yet. Whoever waits for a standby holds a connection, so there are not more; past it
# they are taken as one drop of everything.
PENDING_MAX = 1_000

_log = logging.getLogger("tercet.cache")


@dataclass(slots=True)
class _Pending:
    """A drop whose commits may not be visible yet."""

    drop: Drop
    # When it was first told, and when last.
    since: float
    told: float


class Settling:
    """Asks the primary what it shows, after drops and beside them; one task of whoever relays."""

    def __init__(self, tiers: Tiers, sees: Callable[[], Awaitable[Seen | None]], now: Callable[[], float]) -> None:
        self._tiers, self._sees, self._now = tiers, sees, now
        self._pending: list[_Pending] = []
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, drop: Drop) -> None:
        """These tags were dropped for these moments, now."""
        now = self._now()
        self._pending.append(_Pending(Drop(tags=drop.tags, everything=drop.everything, moments=drop.moments), now, now))
        if len(self._pending) > PENDING_MAX:
            moments = folded(span for one in self._pending for span in one.drop.moments)
            self._pending = [_Pending(Drop(everything=True, moments=moments), self._pending[0].since, now)]
        self._some.set()

    async def run(self) -> None:
        """Settle what is there to be settled; ends when it is cancelled."""
        pause = SETTLE_SECONDS[0]
        while True:
            await self._some.wait()
            await asyncio.sleep(pause)
            settled = False
            try:
                settled = await self.step()
            except NotOpen as error:
                if error.closed:
                    # There is nobody to ask any more, and never will be.
                    return
            except StoreError as error:
                _log.debug("what was dropped is not settled yet (%s)", type(error).__name__)
            except Exception:  # noqa: BLE001 - logged; what asks the store is not ours
                _log.exception("what was dropped could not be settled, and is tried again")
            pause = SETTLE_SECONDS[0] if settled else min(pause * 2, SETTLE_SECONDS[1])

    async def step(self) -> bool:
        """Ask once, settle what is shown, tell again what has not been for long; whether anything was settled."""
        asked = [*self._pending]
        seen = await self._sees() if asked else None
        shown = [] if seen is None else [one for one in asked if _is_shown(one.drop.moments, seen)]
        if shown and seen is not None:
            await self._settle([one.drop for one in shown], seen)
        now = self._now()
        gone = [one for one in asked if one in shown or seen is None or _is_lost(one, seen, now)]
        self._pending = [one for one in self._pending if not any(one is other for other in gone)]
        for one in self._pending:
            if now - one.told >= RETELL_SECONDS:
                one.told = now
                await self._tiers.drop(one.drop)
        if not self._pending:
            self._some.clear()
        return bool(shown)

    async def _settle(self, drops: Sequence[Drop], seen: Seen) -> None:
        tags = tuple(dict.fromkeys(tag for one in drops for tag in one.tags))
        # As they were written: the spans of one drop are put together where they are many.
        spans = tuple(dict.fromkeys(span for one in drops for span in folded(one.moments)))
        source = digest(seen.source)
        self._tiers.near.recent.settle(tags, source, seen.through, spans)
        shelf = self._tiers.far.shelf
        if shelf is not None:
            await shelf.settle(tags, source, seen.through, spans)


def _is_shown(spans: Sequence[Span], seen: Seen) -> bool:
    source = digest(seen.source)
    return all(one.source == source and seen.sees_all(one.first, one.last) for one in spans)


def _is_lost(one: _Pending, seen: Seen, now: float) -> bool:
    """Whether it is of a store that is no longer there, and nobody will ever show it."""
    source = digest(seen.source)
    return any(span.source != source for span in one.drop.moments) and now - one.since > WINDOW_SECONDS
