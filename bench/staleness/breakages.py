"""Caches that are broken on purpose: a checker that finds nothing wrong with them is no checker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tercet.cache.loading.flight import Flight

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.cache import Cache


def deaf(cache: Cache) -> None:
    """The bus is believed, and what it says is not done."""
    tiers: Any = cache._tiers
    tiers._hear = lambda drop: None


def clinging(cache: Cache) -> None:
    """Memory keeps what this process itself drops."""
    tiers: Any = cache._tiers
    tiers._drop_here = lambda drop: None


def trusting(cache: Cache) -> None:
    """A bus that has fallen silent is believed for ever."""
    tiers: Any = cache._tiers
    tiers._trust = lambda until: setattr(tiers.memory, "trusted_until", float("inf"))


def late(cache: Cache) -> None:
    """What a slow load brings is kept whatever was dropped meanwhile, here and in Redis."""
    tiers: Any = cache._tiers
    shelf = tiers.far.shelf

    async def fill(name: str, frame: bytes, seconds: float, tags: Any, token: bytes, *, tell: bool = False) -> Any:
        return True, await shelf.write(name, frame, seconds, tags)

    shelf.fill = fill
    Flight.is_fresh = lambda self: True  # type: ignore[method-assign]  # that is the breakage


BREAKAGES: dict[str, Callable[[Cache], None]] = {
    "deaf": deaf,
    "clinging": clinging,
    "trusting": trusting,
    "late": late,
}
