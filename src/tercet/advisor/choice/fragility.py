"""Whether a gain would last if the planner were wrong: about rows, about values, about its disks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tercet.advisor.choice.bounds import SLOWER_MOST, STATEMENT_MS_MIN
from tercet.advisor.choice.ledger import OFF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor.choice.ledger import Ledger, Names
    from tercet.advisor.query import Example
    from tercet.sql import Plan

# What random pages cost on disks that have none of them at hand, and on those that have all: PostgreSQL's own
# setting and the usual one for flash.
_PAGE_COSTS = ("1.1", "4")

_RARE = {
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
        for example in query.examples:
            before, after = await ledger.plan(at, frozenset(), example), await ledger.plan(at, using, example)
            if before is None or after is None:
                continue
            for why in _doubts(ledger, before, after, example):
                for name in using & set(after.indexes):
                    found.setdefault(name, {})[f"{query.label or query.fingerprint}: {why}"] = None
    for name, why in await _elsewhere(ledger, using):
        found.setdefault(name, {})[why] = None
    return {name: tuple(whys) for name, whys in found.items()}


def _doubts(ledger: Ledger, before: Plan, after: Plan, example: Example) -> list[str]:
    reckoner = ledger.reckoner
    doubts = []
    if _slower(reckoner.ms(before), reckoner.ms(after)):
        doubts.append(f"with {_RARE[example.origin]} it would be slower")
    elif _slower(reckoner.ms(before, off=OFF), reckoner.ms(after, off=OFF)):
        doubts.append(f"with {OFF:g} times the rows that are planned it would be slower than without")
    return doubts


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
                if not used or not query.examples:
                    continue
                plan = await ledger.plan(at, using, query.examples[0])
                gone = used - set(plan.indexes) if plan else frozenset()
                doubts += [
                    (name, f"{query.label or query.fingerprint}: not used at random_page_cost {cost}")
                    for name in sorted(gone)
                ]
        finally:
            await engine.tune({})
    return doubts


def _slower(before: float, after: float) -> bool:
    return after > before * SLOWER_MOST and after - before > STATEMENT_MS_MIN
