"""Whoever cancels a build is heard, at whatever moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tercet.migrations import build_index
from tercet.sql import Index

BY_USER = Index("by_user", "orders", ("user_id",))


class Rows:
    """One row, or none."""

    def __init__(self, *rows: tuple[Any, ...]) -> None:
        self._rows = rows

    def all(self) -> tuple[tuple[Any, ...], ...]:
        """All of them."""
        return self._rows


class Slow:
    """A database that builds as soon as its progress is asked for, and then is slow to let go of who asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.leaving = asyncio.Event()
        self.let_go = asyncio.Event()

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Slow]:
        """Itself; leaving after a cancellation takes until `let_go`."""
        try:
            yield self
        except asyncio.CancelledError:
            self.leaving.set()
            await self.let_go.wait()
            raise

    transaction = autocommit

    async def exec_driver_sql(self, statement: str, parameters: Any = None) -> Rows:
        """What each statement of a build is answered."""
        if "pg_stat_progress" in statement:
            self.asked.set()
            return Rows((7, "building index", 1, 2, 0, None))
        if "relkind" in statement:
            return Rows((False,))
        if statement.startswith("create"):
            await self.asked.wait()
        return Rows() if "pg_index" in statement else Rows((True,))


async def test_a_build_cancelled_while_its_progress_is_being_ended_is_cancelled() -> None:
    """The build's own cancellation is not taken for the one that it has sent to the watcher of its progress."""
    database = Slow()
    building = asyncio.create_task(build_index(database, BY_USER, on_progress=lambda _done, _total: None))
    await database.leaving.wait()
    building.cancel()
    await asyncio.sleep(0)
    database.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await building


async def test_a_build_whose_progress_cannot_be_told_says_why() -> None:
    """An error in the caller's own progress function reaches the caller."""
    database = Slow()
    database.let_go.set()

    def broken(_done: int, _total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await build_index(database, BY_USER, on_progress=broken)
