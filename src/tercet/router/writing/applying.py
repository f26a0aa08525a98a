"""Values that PostgreSQL has committed, on their way into the other stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tercet.router.key import Key
    from tercet.router.plan import Field, Plan, Source
    from tercet.router.writing.port import Writer


class Applier:
    """Writes fields of an entity to where they live, source by source."""

    __slots__ = ("_writer",)

    def __init__(self, writer: Callable[[Source], Writer]) -> None:
        self._writer = writer

    async def apply(self, plan: Plan, key: Key, values: Mapping[Field, Any], version: int) -> None:
        """Write these values, each unless a newer one is there; twice is once."""
        for source, fields in by_source(plan, values):
            await self._writer(source).write(source, key, {field: values[field] for field in fields}, version)

    async def sweep(self, plan: Plan, fields: Iterable[Field], before: int) -> None:
        """Take away what was last written before this version."""
        for source, found in by_source(plan, fields):
            await self._writer(source).sweep(source, found, before)


def by_source(plan: Plan, fields: Iterable[Field]) -> list[tuple[Source, tuple[Field, ...]]]:
    """These fields, by where they come from, in the order of their declaration."""
    wanted = set(fields)
    found = ((source, tuple(field for field in source.fields if field in wanted)) for source in plan.sources)
    return [(source, some) for source, some in found if some]
