"""How many distinct combinations columns have, by a few hundred pages of production, if that is allowed.

ANALYZE knows columns alone, and guesses too low where equal values lie side by side: it draws rows out of few pages.
Only counts leave the server.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor.shadow.taken.dump import statements
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.sql.port import Database

# Two megabytes of a table: some fifty rows a page, so that one key in 100 that occurs ten times is met twice.
PAGES = 300
_SECONDS = 2.0
# Of a smaller table the guess does no harm.
_PAGES_MIN = 1_000
# From this share of keys that were met on one page only, equal ones lie side by side.
_CLUSTERED = 0.9


@dataclass(slots=True)
class Sampler:
    """Counts on production, a set of columns once; what it took is counted, too."""

    database: Database
    seconds: float = 0.0
    known: dict[tuple[tuple[str, str], frozenset[str]], float | None] = field(default_factory=dict)

    async def share(self, table: tuple[str, str], columns: Sequence[str], pages: int, rows: float) -> float | None:
        """Distinct combinations as a share of the rows; None where it is not worth it or cannot be told."""
        if pages < _PAGES_MIN or rows < 1:
            return None
        key = (table, frozenset(columns))
        if key not in self.known:
            began = time.perf_counter()
            try:
                self.known[key] = await self._counted(table, columns, pages, rows)
            except Exception:  # noqa: BLE001 - no right to read it, too slow, dropped meanwhile: the guess does
                self.known[key] = None
            self.seconds += time.perf_counter() - began
        return self.known[key]

    async def _counted(self, table: tuple[str, str], columns: Sequence[str], pages: int, rows: float) -> float | None:
        sql = statements()["sample"].format(
            columns=", ".join(f"e.{identifier(column)}" for column in columns),
            table=identifier(*table),
            percent=f"{min(100.0, 100.0 * PAGES / pages):.6f}",
        )
        async with self.database.transaction(within=_SECONDS) as connection:
            await connection.exec_driver_sql("set transaction read only")
            limit = f"{_SECONDS * 1000:.0f}"
            await connection.exec_driver_sql(statements()["limits"], (limit, limit))
            met, units, keys, once, seen = (await connection.exec_driver_sql(sql)).all()[0]
        return None if not keys else _share(float(met), float(units), float(keys), float(once), float(seen), rows)


def _share(met: float, units: float, keys: float, once: float, seen: float, rows: float) -> float:
    """The estimate of Haas and Stokes that ANALYZE uses, over what stands together on a page instead of rows."""
    together = met / units
    if once >= _CLUSTERED * keys and units > seen:
        # A group that a page's end cuts was counted on both sides.
        together = max(together, (met - seen) / (units - seen))
    whole = max(rows / together, units)
    part = units / whole
    return min(1.0, units * keys / (units - once + once * part) / rows)
