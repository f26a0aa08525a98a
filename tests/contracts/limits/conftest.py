"""Limits on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tercet.clock import SystemClock
from tercet.limits import Limits
from tercet.telemetry import Telemetry
from tercet.wire import Wire

# The machine's slowness is no matter of these tests.
DEADLINE_SECONDS = 30.0


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[Wire]:
    """A wire to a server with nothing in it."""
    made = Wire.at(redis_url, deadline=DEADLINE_SECONDS, clock=SystemClock(), telemetry=Telemetry())
    yield made
    await made.close()


@pytest.fixture
def limits(wire: Wire) -> Limits:
    """Limits on that server."""
    return Limits(wire)
