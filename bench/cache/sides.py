"""The sides of a comparison, entered together; what cannot be entered, or answers wrongly, is told and left out."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

# What a side may take to open, to be filled and to be looked at. A peer that waits for ever is a finding too.
OPEN_SECONDS = 120.0

# What a Redis has when nobody says otherwise.
DATABASES = 16


class Differs(Exception):
    """A side gave back something else than was put in."""


def said(error: BaseException) -> str:
    """An error in one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:160]


@asynccontextmanager
async def opened(
    factories: Mapping[str, Callable[..., Any]],
    url: str,
    *words: Any,
    prepare: Callable[[Any], Awaitable[None]],
) -> AsyncIterator[tuple[dict[str, Any], dict[str, str]]]:
    """What the factories give, each prepared, and the reasons of those that could not be.

    Each gets a Redis database of its own, so that no two meet under one key.
    """
    if len(factories) > DATABASES:
        raise ValueError(f"{len(factories)} sides do not fit into {DATABASES} databases")
    root = url.rpartition("/")[0]
    things: dict[str, Any] = {}
    refused: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        for number, (name, factory) in enumerate(factories.items()):
            own = AsyncExitStack()
            try:
                thing = await own.enter_async_context(factory(f"{root}/{number}", *words))
                async with asyncio.timeout(OPEN_SECONDS):
                    await prepare(thing)
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
                refused[name] = said(error)
                with contextlib.suppress(Exception):
                    await own.aclose()
                continue
            stack.push_async_callback(_closed, own)
            things[name] = thing
        yield things, refused


async def _closed(own: AsyncExitStack) -> None:
    """Close one side; what it says then is not what was asked."""
    with contextlib.suppress(Exception):
        await own.aclose()


def with_refused(figures: Mapping[str, object], refused: Mapping[str, str]) -> dict[str, object]:
    """The table with those that gave none, and why."""
    return {**figures, **{name: {"refused": reason} for name, reason in refused.items()}}
