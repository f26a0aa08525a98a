"""The hub: listeners are told what happens, in order, and cannot hurt whoever tells."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tercet.errors import DeadlinePassed, PoolExhausted, StoreUnreachable
from tercet.telemetry import Event, Operation, ServerChanged, Telemetry

STARTED = ServerChanged("redis", "started", 0.2)
STOPPED = ServerChanged("redis", "stopped", 0.1)


class Notebook:
    """A listener that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)

    def only_operation(self) -> Operation:
        """The one thing heard, which is an operation."""
        (event,) = self.heard
        assert isinstance(event, Operation)
        return event


def test_every_listener_hears_every_event_in_order() -> None:
    """Two listeners hear the same story."""
    telemetry, one, two = Telemetry(), Notebook(), Notebook()
    telemetry.listen(one)
    telemetry.listen(two)
    telemetry.tell(STARTED)
    telemetry.tell(STOPPED)
    assert one.heard == two.heard == [STARTED, STOPPED]


def test_nobody_is_heard_until_somebody_listens() -> None:
    """A hot path may skip making events while nobody listens."""
    telemetry = Telemetry()
    looks = [telemetry.heard]
    end = telemetry.listen(Notebook())
    looks.append(telemetry.heard)
    end()
    looks.append(telemetry.heard)
    assert looks == [False, True, False]


def test_a_listener_that_has_ended_hears_no_more_even_when_ended_twice() -> None:
    """Ending is final, and ending again is harmless."""
    telemetry, notebook = Telemetry(), Notebook()
    end = telemetry.listen(notebook)
    telemetry.tell(STARTED)
    end()
    end()
    telemetry.tell(STOPPED)
    assert notebook.heard == [STARTED]


def test_a_listener_that_listens_twice_ends_once_at_a_time() -> None:
    """Each listening ends for itself, though the listener is the same."""
    telemetry, notebook = Telemetry(), Notebook()
    end_one = telemetry.listen(notebook)
    telemetry.listen(notebook)
    end_one()
    end_one()
    telemetry.tell(STARTED)
    assert notebook.heard == [STARTED]


def test_a_listener_that_raises_is_logged_and_the_others_still_hear(caplog: pytest.LogCaptureFixture) -> None:
    """The fault of one listener reaches the log and nobody else."""

    def broken(event: Event) -> None:
        raise RuntimeError("no disk left")

    telemetry, notebook = Telemetry(), Notebook()
    telemetry.listen(broken)
    telemetry.listen(notebook)
    with caplog.at_level(logging.ERROR, "tercet.telemetry"):
        telemetry.tell(STARTED)
    assert notebook.heard == [STARTED]
    assert [record.getMessage() for record in caplog.records] == ["a telemetry listener failed on ServerChanged"]


def test_a_listener_may_end_itself_while_it_is_told() -> None:
    """Ending inside a telling disturbs nobody."""
    telemetry, notebook = Telemetry(), Notebook()

    def once(event: Event) -> None:
        end()

    end = telemetry.listen(once)
    telemetry.listen(notebook)
    telemetry.tell(STARTED)
    telemetry.tell(STOPPED)
    assert notebook.heard == [STARTED, STOPPED]


def test_a_block_that_ends_well_is_an_operation_that_is_ok() -> None:
    """The event carries room, name, store and a duration."""
    telemetry, notebook = Telemetry(), Notebook()
    telemetry.listen(notebook)
    with telemetry.operation("rollups", "refresh", store="postgres"):
        pass
    event = notebook.only_operation()
    assert (event.room, event.name, event.store) == ("rollups", "refresh", "postgres")
    assert (event.outcome, event.error) == ("ok", None)
    assert 0 <= event.seconds < 60


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (ValueError("no"), "failed"),
        (StoreUnreachable("redis", reason="gone"), "failed"),
        (TimeoutError(), "timeout"),
        (DeadlinePassed("redis", what="GET", deadline=0.1), "timeout"),
        (PoolExhausted("redis", size=1, waited=0.1, held=None, holder=None), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_block_that_raises_tells_how_and_raises_on(raised: BaseException, outcome: str) -> None:
    """The outcome follows the error, which is not swallowed."""
    telemetry, notebook = Telemetry(), Notebook()
    telemetry.listen(notebook)
    with pytest.raises(type(raised)), telemetry.operation("cache", "load"):
        raise raised
    event = notebook.only_operation()
    assert (event.outcome, event.error) == (outcome, type(raised).__name__)


def test_an_operation_nobody_listens_to_still_runs_and_raises() -> None:
    """Without a listener the block is just the block."""
    with pytest.raises(ValueError, match="no"), Telemetry().operation("cache", "load"):
        raise ValueError("no")
