"""A consumer: the function that handles an event, by its name, and the store in which its effect happens once."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.changes.outbox.delivery import Delivery
    from tercet.changes.outbox.event import Event
    from tercet.changes.outbox.port import Inbox, Once

# As long as a key: it is in the same indexes.
NAME_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Consumer:
    """One handler of some types; retried by itself, whatever becomes of others."""

    name: str
    types: tuple[type[Event], ...]
    call: Callable[..., Awaitable[object]]
    # How many arguments it takes, the event and what belongs to the store first.
    takes: int
    once: Once | None
    within: float
    attempts: int

    async def handle(self, event: Event, delivery: Delivery, inbox: Inbox | None) -> None:
        """Call it, inside the store's transaction where its effect is to happen once."""
        if inbox is None:
            await self.call(*(event, delivery)[: self.takes])
            return

        async def effect(transaction: Any) -> None:
            await self.call(*(event, transaction, delivery)[: self.takes])

        await inbox.once(self.name, delivery.id, effect)


def consumer(
    call: Callable[..., Awaitable[object]],
    types: Sequence[type[Event]],
    *,
    name: str | None,
    once: Once | None,
    within: float,
    attempts: int,
) -> Consumer:
    """A consumer of what was said where it stands; raises UsageError for a function that cannot be one."""
    called = name or _place(call)
    if not 0 < len(called) <= NAME_CHARS_MAX or "\0" in called or "\n" in called:
        raise UsageError(
            f"The name of the handler {called!r} is no name.", f"Give it one of 1 to {NAME_CHARS_MAX} characters."
        )
    # An object that can be called is awaited by what its class says.
    if not inspect.iscoroutinefunction(call) and not inspect.iscoroutinefunction(getattr(type(call), "__call__", None)):  # noqa: B004 - its own question is not whether it can be called
        raise UsageError(f"{called} is no async function.", "Handlers are awaited: write it with async def.")
    least, most = (1, 2) if once is None else (2, 3)
    takes = _positional(call, most)
    if takes < least:
        wants = "(event) or (event, delivery)" if once is None else "(event, tx) or (event, tx, delivery)"
        raise UsageError(f"{called} takes {takes} arguments.", f"It is called as handler{wants}.")
    return Consumer(called, tuple(types), call, takes, once, within, attempts)


def _place(call: Callable[..., object]) -> str:
    named = call if hasattr(call, "__qualname__") else type(call)
    return f"{named.__module__}.{named.__qualname__}"


def _positional(call: Callable[..., object], most: int) -> int:
    parameters = inspect.signature(call).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return most
    places = [one for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    needed = sum(one.default is one.empty for one in places)
    if needed > most or any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in parameters):
        raise UsageError(
            f"{_place(call)} wants more than it is given.",
            f"At most {most} of its arguments may be without a default.",
        )
    return min(len(places), most)
