"""Lanes: the events of one key for one consumer, one after the other; lanes side by side, up to a bound."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tercet.changes.outbox.delivery import Delivery
from tercet.changes.outbox.event import Catalogue, Unreadable, unwrap
from tercet.telemetry import Operation, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tercet.changes.outbox.consumer import Consumer
    from tercet.changes.outbox.delivery import Work
    from tercet.changes.outbox.port import Inbox, Once
    from tercet.clock import Clock


@dataclass(slots=True, eq=False)
class Lane:
    """Some events of one consumer and key, in their order."""

    works: list[Work] = field(default_factory=list)
    # Set when nothing more of it is to be begun.
    stopped: bool = False


def lanes(works: Iterable[Work]) -> list[Lane]:
    """The lanes of these works, each in the order in which they came."""
    found: dict[tuple[str, str], Lane] = {}
    for work in works:
        found.setdefault(work.lane, Lane()).works.append(work)
    return list(found.values())


class Runner:
    """Walks lanes: tries each event in turn, and stops where one has failed."""

    def __init__(
        self,
        catalogue: Catalogue,
        consumers: Mapping[str, Consumer],
        inboxes: Mapping[Once, Inbox],
        *,
        parallel: int,
        clock: Clock,
        telemetry: Telemetry,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._catalogue, self._consumers, self._inboxes = catalogue, consumers, inboxes
        self._parallel, self._clock, self._telemetry, self._chance = parallel, clock, telemetry, chance
        self._free: asyncio.Semaphore | None = None

    async def walk(self, lane: Lane) -> Sequence[Work]:
        """Try one after the other; what stands behind one that failed or died, or behind a stop, still waits.

        A death counts once it is written down: if that fails, the event is tried again, and before the next.
        """
        # Made here: a semaphore belongs to the loop in which it is first waited for.
        self._free = self._free or asyncio.Semaphore(self._parallel)
        for work in lane.works:
            async with self._free:
                if lane.stopped:
                    break
                await self._attempt(work)
            if work.state != "done":
                break
        return lane.works

    def forget_loop(self) -> None:
        """The next walk may be in another event loop."""
        self._free = None

    async def _attempt(self, work: Work) -> None:
        consumer = self._consumers[work.consumer]
        started, work.state = self._clock.monotonic(), "running"
        outcome: Literal["ok", "failed", "timeout"] = "ok"
        try:
            envelope = unwrap(work.content)
            event = self._catalogue.read(envelope)
            delivery = Delivery(
                work.id, work.consumer, work.type, work.key, work.attempts + 1, envelope.at, envelope.trace
            )
            inbox = self._inboxes[consumer.once] if consumer.once is not None else None
            async with asyncio.timeout(consumer.within):
                await consumer.handle(event, delivery, inbox)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                work.state = "waiting"
                raise
            # Nobody has ended us: the handler has awaited something that was cancelled, and that is its fault.
            outcome = "failed"
            work.failed(error, attempts=consumer.attempts, chance=self._chance())
        except Unreadable as error:
            outcome = "failed"
            work.undelivered(error)
        except Exception as error:  # noqa: BLE001 - see below
            # A handler is the user's: whatever it raises holds up its own lane and nothing else.
            outcome = "timeout" if isinstance(error, TimeoutError) else "failed"
            work.failed(error, attempts=consumer.attempts, chance=self._chance())
        else:
            work.state = "done"
        self._telemetry.tell(
            Operation("outbox", work.consumer, self._clock.monotonic() - started, outcome, None, work.error or None)
        )
