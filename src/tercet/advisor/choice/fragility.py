"""Whether a gain would last if the planner were wrong: about rows, about values, about its disks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tercet.advisor.choice.bounds import SLOWER_MOST, STATEMENT_MS_MIN
from tercet.advisor.choice.ledger import OFF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor.choice.ledger import Asked, Ledger, Names
    from tercet.advisor.query import Example

# What random pages cost on disks that have none of them at hand, and on those that have all: PostgreSQL's own
# setting and the usual one for flash.
_PAGE_COSTS = ("1.1", "4")

_ORIGINS = {
    "common": "a frequent value",
    "rare": "a rare value",
    "beyond": "a value outside of those known",
    "generic": "any value",
    "given": "one of its texts",
}


@runtime_checkable
class Tunable(Protocol):
    """An engine whose planner can be given other settings for a while."""

    async def tune(self, settings: Mapping[str, str]) -> None:
        """Plan with these settings from now on, and with the database's own for all others."""
        ...


async def fragile(ledger: Ledger, using: Names) -> dict[str, tuple[str, ...]]:
    """Why the gain of each index is not to be relied on; those that nothing speaks against are left out."""
    found: dict[str, dict[str, None]] = {}
    for at, query in enumerate(ledger.queries):
        if at in ledger.refused or not (await ledger.need(at, using)).used & using:
            continue
        before = dict(await ledger.each(at, frozenset()))
        for example, after in await ledger.each(at, using):
            why = _doubt(before[example], after, example) if example in before else ""
            if why:
                for name in after.needs:
                    found.setdefault(name, {})[f"{query.label or query.fingerprint}: {why}"] = None
    for name, why in await _elsewhere(ledger, using):
        found.setdefault(name, {})[why] = None
    return {name: tuple(whys) for name, whys in found.items()}


def _doubt(before: Asked, after: Asked, example: Example) -> str:
    if _slower(before.ms, after.ms):
        return f"with {_ORIGINS[example.origin]} it would be slower"
    if _slower(before.ms_off, after.ms_off):
        return f"with {OFF:g} times the rows that are planned it would be slower than without"
    return ""


async def _elsewhere(ledger: Ledger, using: Names) -> list[tuple[str, str]]:
    """Indexes that are not used any more, or to the worse, where random pages cost more or less than here."""
    engine, doubts = ledger.engine, []
    if not isinstance(engine, Tunable):
        return []
    for cost in _PAGE_COSTS:
        await engine.tune({"random_page_cost": cost})
        try:
            for at, query in enumerate(ledger.queries):
                used = (await ledger.need(at, using)).used & using
                if not used:
                    continue
                gone = used - await ledger.used(at, using)
                doubts += [
                    (name, f"{query.label or query.fingerprint}: not used at random_page_cost {cost}")
                    for name in sorted(gone)
                ]
        finally:
            await engine.tune({})
    return doubts


def _slower(before: float, after: float) -> bool:
    return after > before * SLOWER_MOST and after - before > STATEMENT_MS_MIN
