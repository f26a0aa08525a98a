"""Time that several share."""

from __future__ import annotations

import asyncio

import pytest

from tercet.advisor.allowance import Allowance


def test_it_begins_when_it_is_first_asked_for_and_never_is_below_zero() -> None:
    """What goes before the first run costs nothing of it."""
    now = 100.0
    allowance = Allowance(10.0, lambda: now)
    now = 500.0
    assert allowance.left == 10.0
    now = 507.0
    assert allowance.left == 3.0
    now = 900.0
    assert allowance.left == 0.0


async def test_its_limit_ends_what_waits() -> None:
    """Whoever comes when nothing is left is ended at the first wait."""
    limit = Allowance(0.0).limit()
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.Event().wait()
    assert limit.expired()
