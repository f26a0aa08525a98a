"""Changes: whoever derives something from a store subscribes here, and is told what was committed."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from tercet.changes.feeding.feed import Feed
from tercet.changes.feeding.place import PLACE_CHARS_MAX, Place, checked_place
from tercet.errors import NotOpen, SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.changes.feeding.port import Leaders, Sources
    from tercet.changes.feeding.status import SubscriptionStatus
    from tercet.changes.port import Listener
    from tercet.clock import Clock
    from tercet.telemetry import Telemetry

# Enough to tell the ephemeral places of one service apart.
_DIGEST_CHARS = 12


class Subscription:
    """One listener that is told of changes, until it is closed."""

    __slots__ = ("_changes", "_feed")

    def __init__(self, feed: Feed, changes: Changes) -> None:
        self._feed, self._changes = feed, changes

    async def ready(self) -> None:
        """Return once changes are heard, by this process or by the one of the service that leads.

        Raises what people must mend first (FeedRefused, LoginRefused, a UsageError), and NotOpen after the end; a
        store that is away is waited for.
        """
        self._feed.start()
        await self._feed.ready()

    def status(self) -> SubscriptionStatus:
        """How it stands in this process."""
        return self._feed.status

    async def close(self) -> None:
        """Tell the listener nothing more. A durable place stays where it is; twice is fine."""
        self._changes.forget(self)
        await self._feed.close()


class Changes:
    """What was committed in one store, told in order to whoever has subscribed; `db.changes` is PostgreSQL's.

    `sources` and `leaders` are the edges: `tercet.changes.stream.postgres` has PostgreSQL's own, and whatever
    fulfils the two ports can stand in for them. Every process of a service subscribes; for each place, one of them
    leads and tells its own listener, and when it dies another one takes over.
    """

    def __init__(
        self,
        sources: Sources,
        leaders: Leaders,
        *,
        service: str,
        clock: Clock,
        telemetry: Telemetry,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_open` says whether the store can be asked yet; until then, `start()` begins what was subscribed."""
        self._is_open = is_open
        self._sources, self._leaders = sources, leaders
        self._service = service
        self._clock, self._telemetry = clock, telemetry
        self._subscriptions: dict[str, tuple[Subscription, Feed]] = {}
        self._closed = False

    def subscribe(
        self,
        listener: Listener,
        *,
        durable: str | None = None,
        place: str | None = None,
        service: str | None = None,
    ) -> Subscription:
        """Tell `listener` what is committed from now on.

        `durable` names a place that the store keeps: it goes on where it was, at least once, and its listener is
        asked again until it has taken care of what it was told. Without it the place is ephemeral: after any gap, and
        at the beginning, `resync` is called. `place` names an ephemeral place; otherwise its name is made of the
        listener's class and of what it wants, which is the same in every process that runs the same program. `service`
        is given where processes of several services share the place.

        Without a running loop, or a store that is open, it begins with `start()`, or with the subscription's `ready()`.
        """
        if self._closed:
            raise NotOpen("The feed of changes", closed=True)
        if durable is not None and place is not None:
            raise SettingInvalid(
                "place", where="subscribe()", shown=repr(place), wanted="left out: a durable place has its name already"
            )
        given = place if durable is None else durable
        name = self._named(listener) if given is None else checked_place(given)
        if name in self._subscriptions:
            raise SettingInvalid(
                "durable" if durable else "place",
                where="subscribe()",
                shown=repr(name),
                wanted="the name of a place that nobody in this process reads",
            )
        where = Place(service or self._service, name, durable=durable is not None)
        leader = self._leaders(where)
        feed = Feed(listener, where, self._sources, leader, clock=self._clock, telemetry=self._telemetry)
        subscription = Subscription(feed, self)
        self._subscriptions[name] = (subscription, feed)
        if _running() and self._is_open():
            feed.start()
        return subscription

    def start(self) -> None:
        """Begin what was subscribed while no loop was running; nothing for what has begun."""
        for _, feed in self._subscriptions.values():
            feed.start()

    def status(self) -> tuple[SubscriptionStatus, ...]:
        """How each subscription stands in this process."""
        return tuple(feed.status for _, feed in self._subscriptions.values())

    def forget(self, subscription: Subscription) -> None:
        """Let the place be subscribed to again; a subscription says so when it is closed."""
        for name, (known, _) in list(self._subscriptions.items()):
            if known is subscription:
                del self._subscriptions[name]

    async def close(self) -> None:
        """End every subscription; no task, no connection and no temporary slot is left. Twice is fine."""
        self._closed = True
        feeds = [feed for _, feed in self._subscriptions.values()]
        self._subscriptions.clear()
        await asyncio.gather(*(feed.close() for feed in feeds))

    def _named(self, listener: Listener) -> str:
        """An ephemeral place's name; a second one that is alike has a number, in the order of subscribing."""
        wants = listener.wants
        tables = sorted((table, sorted(columns or ("*",))) for table, columns in wants.tables.items())
        kind = type(listener)
        told = repr((kind.__module__, kind.__qualname__, tables, sorted(wants.prefixes)))
        digest = hashlib.blake2b(told.encode()).hexdigest()[:_DIGEST_CHARS]
        number = 1
        while (name := f"{digest}_{number}"[:PLACE_CHARS_MAX]) in self._subscriptions:
            number += 1
        return name


def _running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
