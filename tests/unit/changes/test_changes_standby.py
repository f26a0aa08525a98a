"""What the server is told of how far we are: never more than was taken care of."""

from __future__ import annotations

import asyncio
import struct

import pytest

from tercet.changes.stream import standby as standing
from tercet.changes.stream.standby import Standby
from tercet.errors import StoreUnreachable

# Every status of these tests is asked for by a keepalive, so that no test waits for a timer.
_STATUS = struct.Struct(">BQQQqB")


class Server:
    """Reads what it is told."""

    def __init__(self, at: int = 0) -> None:
        self.flushed: list[int] = []
        self.asked: list[bool] = []
        self.failed: list[Exception] = []
        self.read_at = 0.0
        self.standby = Standby(self.send, self.failed.append, lambda: self.read_at, timeout_seconds=0, at=at)

    def send(self, frame: bytes) -> None:
        """Take a status."""
        _, _, flushed, applied, _, answer = _STATUS.unpack(frame)
        assert flushed == applied
        self.flushed.append(flushed)
        self.asked.append(bool(answer))

    def ask(self, end: int, *, between: bool = True) -> int:
        """A keepalive that wants an answer; how far we are."""
        self.standby.keepalive(struct.pack(">BQqB", ord("k"), end, 0, 1), between=between)
        return self.flushed[-1]


async def test_an_idle_place_moves_with_the_servers_log() -> None:
    """Nothing is in flight, so nothing before there is wanted any more."""
    server = Server(at=100)
    assert server.ask(500) == 500
    assert server.ask(400) == 500
    server.standby.close()


async def test_nothing_is_forgotten_that_was_not_taken_care_of() -> None:
    """While something is in flight, the place stands, however far the log goes."""
    server = Server(at=100)
    server.standby.handed(200)
    assert server.ask(900) == 100
    server.standby.handed(300)
    server.standby.confirm(200)
    assert server.ask(950) == 200
    server.standby.confirm(300)
    assert server.ask(950) == 950
    server.standby.close()


async def test_within_a_transaction_the_log_says_nothing_about_the_place() -> None:
    """Its commit is still to come."""
    server = Server(at=100)
    assert server.ask(900, between=False) == 100
    server.standby.close()


async def test_what_nobody_wanted_moves_the_place_too() -> None:
    """A transaction of other tables leaves nothing to be confirmed."""
    server = Server(at=100)
    server.standby.reached(700)
    assert server.ask(0) == 700
    server.standby.close()


async def test_closing_tells_the_last_that_was_taken_care_of() -> None:
    """So that it does not come again."""
    server = Server(at=100)
    server.ask(100)
    server.standby.confirm(300)
    server.standby.close()
    server.standby.close()
    assert server.flushed == [100, 300]


async def test_a_confirmation_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, and many of them once."""
    monkeypatch.setattr(standing, "TELL_SECONDS", 0.0)
    server = Server(at=0)
    for position in range(1, 50):
        server.standby.confirm(position)
    async with asyncio.timeout(60):
        while not server.flushed:
            await asyncio.sleep(0)
    assert server.flushed == [49]
    server.standby.close()


async def test_a_server_that_is_silent_while_somebody_reads_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked for an answer many times by then; while nobody reads, its silence says nothing."""
    monkeypatch.setattr(standing, "INTERVAL_SECONDS", 0.001)
    monkeypatch.setattr(standing, "SILENCE_SECONDS", 0.0)
    server = Server()
    async with asyncio.timeout(60):
        while len(server.asked) < 10:
            await asyncio.sleep(0.001)
        assert (server.failed, all(server.asked)) == ([], True)
        server.standby.reading(True)
        # Parts of a frame have come, however long the whole of it takes.
        server.read_at = asyncio.get_running_loop().time() + 3600
        asked = len(server.asked)
        while len(server.asked) < asked + 10:
            await asyncio.sleep(0.001)
        assert server.failed == []
        server.read_at = 0.0
        while not server.failed:
            await asyncio.sleep(0.001)
    assert isinstance(server.failed[0], StoreUnreachable)
    server.standby.close()


async def test_a_server_with_a_short_timeout_is_told_several_times_within_it() -> None:
    """A third of wal_sender_timeout, at most ten seconds; without a timeout, ten."""
    for timeout, interval in ((60.0, 10.0), (3.0, 1.0), (0.0, 10.0), (600.0, 10.0)):
        standby = Standby(lambda _: None, lambda _: None, lambda: 0.0, timeout_seconds=timeout, at=0)
        assert standby._interval == interval
        standby.close()
