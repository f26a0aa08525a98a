"""A server that was not told to load pg_stat_statements when it started."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tercet.advisor.workload import from_statistics
from tercet.errors import StatisticsMissing


class _Rows:
    def __init__(self, *rows: tuple[object, ...]) -> None:
        self._rows = rows

    def all(self) -> Sequence[tuple[object, ...]]:
        """Every row."""
        return self._rows


class _Server:
    """Answers as PostgreSQL does; what is refused is in its own words."""

    def __init__(self, refused: str, *, current: bool = True, informed: bool = True) -> None:
        self._refused, self._row = refused, ("public", current, informed, False)

    @asynccontextmanager
    async def transaction(self, *, within: str | float | None = None) -> AsyncIterator[_Server]:
        """Itself."""
        yield self

    async def exec_driver_sql(self, statement: str, parameters: object = ()) -> _Rows:
        """The extension's place, and no to whatever reads it."""
        if "from pg_extension" in statement:
            return _Rows(self._row)
        if "pg_stat_statements" in statement:
            raise RuntimeError(self._refused)
        return _Rows()


@pytest.mark.parametrize("informed", [True, False])
async def test_what_is_not_loaded_says_what_to_set(informed: bool) -> None:
    """Whether the extension is of today or of old."""
    server = _Server('pg_stat_statements must be loaded via "shared_preload_libraries"', informed=informed)
    with pytest.raises(StatisticsMissing, match="shared_preload_libraries = 'pg_stat_statements' and restart"):
        await from_statistics(server)  # type: ignore[arg-type]  # only what is asked of it


async def test_an_extension_older_than_its_server_says_how_to_update_it() -> None:
    """As pg_upgrade leaves it."""
    with pytest.raises(StatisticsMissing, match="alter extension pg_stat_statements update"):
        await from_statistics(_Server("", current=False))  # type: ignore[arg-type]  # only what is asked of it


async def test_any_other_refusal_is_passed_on() -> None:
    """It is not taken for something that it is not."""
    with pytest.raises(RuntimeError, match="permission denied"):
        await from_statistics(_Server("permission denied for function"))  # type: ignore[arg-type]  # as above
