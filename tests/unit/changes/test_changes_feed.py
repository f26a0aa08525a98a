"""What a feed does with what it is told, whatever it reads: with a source and a leader of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

import pytest

from tercet.changes import Changes, Commit, Position, Subscription, Wants
from tercet.changes.feeding import feed as feeding
from tercet.changes.feeding.place import Place
from tercet.changes.feeding.port import Lag
from tercet.clock import StoppedClock
from tercet.errors import FeedRefused, NotOpen, PositionLost, SettingInvalid, StoreUnreachable
from tercet.telemetry import ChangesHeard, Event, FeedState, Telemetry
from tercet.witness import Moment

PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a back-off."""
    for name in ("RECONNECT_SECONDS", "LISTENER_SECONDS"):
        monkeypatch.setattr(feeding, name, (0.0, 0.0))
    monkeypatch.setattr(feeding, "REFUSED_SECONDS", 0.0)


def commit(position: int) -> Commit:
    """A commit of nothing, which ends there."""
    return Commit(Moment("test", position), position, datetime(2024, 1, 1, tzinfo=UTC))


class Store:
    """A store in memory: what is committed, who has said what, and what shall fail next."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.places: list[Place] = []
        self.since: list[Position | None] = []
        self.confirmed: list[Position] = []
        self.fails: list[Exception] = []
        self.open = 0
        self.leading = asyncio.Event()
        self.leading.set()
        self.deposed = asyncio.Event()
        self.queue: asyncio.Queue[Sequence[Commit] | Exception] = asyncio.Queue()

    def source(self, place: Place) -> StoreSource:
        """Reads this store."""
        self.places.append(place)
        return StoreSource(self, place)

    def leader(self, _place: Place) -> StoreLeader:
        """Leads while this store says so."""
        return StoreLeader(self)


class StoreSource:
    """One reading."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store, self._place, self._open = store, place, False

    async def open(self, wants: Wants, since: Position | None) -> Position:
        """It may fail, as it was told."""
        assert wants == Wants({"t": None})
        self._store.since.append(since)
        if self._store.fails:
            raise self._store.fails.pop(0)
        self._open = True
        self._store.open += 1
        self._store.said.append("open")
        return 0

    async def commits(self) -> AsyncIterator[Sequence[Commit]]:
        """What is put into the queue; an error ends it."""
        self._store.said.append("read")
        while True:
            told = await self._store.queue.get()
            if isinstance(told, Exception):
                raise told
            yield told

    async def confirm(self, position: Position) -> None:
        """Remember it."""
        self._store.confirmed.append(position)

    async def close(self) -> None:
        """No longer open."""
        self._store.open -= self._open
        self._open = False


class StoreLeader:
    """Leads while the store says so."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def lead(self, follows: Callable[[], None]) -> None:
        """Once it may."""
        while not self._store.leading.is_set():
            follows()
            await self._store.leading.wait()

    async def led(self, note: Callable[[Lag], None]) -> None:
        """Until it may no more."""
        note(Lag(7, 100, "the disk fills up"))
        await self._store.deposed.wait()
        self._store.deposed.clear()

    async def close(self) -> None:
        """Said for the test."""
        self._store.said.append("led no more")


class Listener:
    """Remembers what it was told, and fails as often as it is told to."""

    wants = Wants({"t": None})

    def __init__(self, store: Store) -> None:
        self._said = store.said
        self.heard: list[Position] = []
        self.fails = self.resync_fails = 0
        self.gate: asyncio.Event | None = None

    async def hear(self, commits: Sequence[Commit]) -> None:
        """One by one."""
        self._said.append("hear")
        if self.fails:
            self.fails -= 1
            raise RuntimeError("not now")
        if self.gate is not None:
            await self.gate.wait()
        self.heard += [one.position for one in commits]

    async def resync(self, why: str) -> None:
        """It may fail, too."""
        self._said.append("resync" if not self.resync_fails else "resync failed")
        if self.resync_fails:
            self.resync_fails -= 1
            raise RuntimeError("not now")
        self.why = why


class Bench:
    """All of them together."""

    def __init__(self) -> None:
        self.store = Store()
        self.listener = Listener(self.store)
        self.told: list[Event] = []
        telemetry = Telemetry()
        telemetry.listen(self.told.append)
        self.changes = Changes(
            self.store.source, self.store.leader, service="shop", clock=StoppedClock(), telemetry=telemetry
        )

    def subscribe(self, durable: str | None = None) -> Subscription:
        """The listener of the test."""
        return self.changes.subscribe(self.listener, durable=durable)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Closed at the end, with nothing left of it."""
    made = Bench()
    yield made
    await made.changes.close()
    assert made.store.open == 0
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("tercet")] == []


async def until(holds: Callable[[], object]) -> None:
    """Wait until this is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0)


async def test_commits_are_handed_on_in_order_and_confirmed_after_that(bench: Bench) -> None:
    """Nothing is confirmed while the listener is at it."""
    bench.listener.gate = asyncio.Event()
    subscription = bench.subscribe("orders")
    await subscription.ready()
    bench.store.queue.put_nowait([commit(1), commit(2)])
    bench.store.queue.put_nowait([commit(3)])
    await until(lambda: "hear" in bench.store.said)
    assert bench.store.confirmed == []
    bench.listener.gate.set()
    await until(lambda: bench.store.confirmed == [2, 3])
    assert bench.listener.heard == [1, 2, 3]
    assert (subscription.status().position, subscription.status().commits) == (3, 3)


async def test_a_durable_place_that_stands_begins_without_a_resync(bench: Bench) -> None:
    """It goes on where it was."""
    await bench.subscribe("orders").ready()
    await until(lambda: "read" in bench.store.said)
    assert bench.store.said == ["open", "read"]
    assert bench.store.places == [Place("shop", "orders", durable=True)]


async def test_an_ephemeral_place_begins_with_a_resync_each_time(bench: Bench) -> None:
    """Also after a connection was lost: what was committed meanwhile is not known."""
    await bench.subscribe().ready()
    bench.store.queue.put_nowait(StoreUnreachable("test", reason="it restarts"))
    await until(lambda: bench.store.said.count("read") == 2)
    assert bench.store.said == ["open", "resync", "read"] * 2
    assert bench.store.since == [None, None]


async def test_a_durable_place_is_opened_again_where_it_was(bench: Bench) -> None:
    """The position goes along for sources that do not know it themselves, and no resync is called."""
    await bench.subscribe("orders").ready()
    bench.store.queue.put_nowait([commit(5)])
    bench.store.queue.put_nowait(StoreUnreachable("test", reason="it restarts"))
    await until(lambda: bench.store.said.count("read") == 2)
    assert bench.store.since == [None, 5]
    assert "resync" not in bench.store.said


async def test_a_lost_place_is_begun_anew_and_the_listener_told_before_it_is_read(bench: Bench) -> None:
    """However often that takes; once that is done it is a place like any other."""
    bench.listener.resync_fails = 2
    bench.store.fails = [PositionLost("test", place="orders", reason="its slot was dropped")]
    subscription = bench.subscribe("orders")
    await subscription.ready()
    await until(lambda: "read" in bench.store.said)
    assert bench.store.said == ["open", "resync failed", "resync failed", "resync", "read"]
    assert [place.anew for place in bench.store.places] == [False, True]
    assert bench.listener.why == "its slot was dropped"
    assert subscription.status().resyncs == 1
    bench.store.queue.put_nowait(StoreUnreachable("test", reason="it restarts"))
    await until(lambda: len(bench.store.places) == 3)
    assert not bench.store.places[-1].anew


async def test_a_durable_listener_that_fails_is_asked_with_the_same_again(bench: Bench) -> None:
    """Until it succeeds, and what comes after waits."""
    bench.listener.fails = feeding.LISTENER_TRIES * 3
    subscription = bench.subscribe("orders")
    bench.store.queue.put_nowait([commit(1)])
    bench.store.queue.put_nowait([commit(2)])
    await until(lambda: subscription.status().state == "retrying")
    assert subscription.status().error == "RuntimeError"
    await until(lambda: bench.store.confirmed == [1, 2])
    assert bench.listener.heard == [1, 2]
    assert "resync" not in bench.store.said
    assert (subscription.status().state, subscription.status().error) == ("reading", None)


async def test_an_ephemeral_listener_that_goes_on_failing_is_told_to_begin_anew(bench: Bench) -> None:
    """What it failed on is passed over then, and the rest goes on."""
    bench.listener.fails = feeding.LISTENER_TRIES + 1
    subscription = bench.subscribe()
    bench.store.queue.put_nowait([commit(1)])
    bench.store.queue.put_nowait([commit(2)])
    await until(lambda: bench.store.confirmed == [1, 2])
    assert bench.listener.heard == [2]
    assert bench.listener.why == feeding.GIVEN_UP
    assert subscription.status().resyncs == 2


async def test_who_does_not_lead_reads_nothing(bench: Bench) -> None:
    """And is ready all the same, for another process reads."""
    bench.store.leading.clear()
    subscription = bench.subscribe("orders")
    await subscription.ready()
    assert (subscription.status().state, subscription.status().leading) == ("following", False)
    assert bench.store.places == []
    bench.store.leading.set()
    await until(lambda: subscription.status().state == "reading")
    assert subscription.status().leading


async def test_who_leads_no_more_tells_its_listener_nothing_more_at_once(bench: Bench) -> None:
    """Also in the middle of it; nothing of that is confirmed."""
    bench.listener.gate = asyncio.Event()
    subscription = bench.subscribe("orders")
    bench.store.queue.put_nowait([commit(1)])
    await until(lambda: "hear" in bench.store.said)
    bench.store.leading.clear()
    bench.store.deposed.set()
    await until(lambda: subscription.status().state == "following")
    assert (bench.listener.heard, bench.store.confirmed, bench.store.open) == ([], [], 0)


async def test_closing_ends_a_listener_that_is_at_it(bench: Bench) -> None:
    """And closes the source and gives the lock back."""
    bench.listener.gate = asyncio.Event()
    subscription = bench.subscribe("orders")
    bench.store.queue.put_nowait([commit(1)])
    await until(lambda: "hear" in bench.store.said)
    await subscription.close()
    assert (bench.store.open, bench.store.confirmed) == (0, [])
    assert bench.store.said[-1] == "led no more"
    assert subscription.status().state == "closed"
    await subscription.close()
    with pytest.raises(NotOpen):
        await subscription.ready()


async def test_what_people_must_mend_is_raised_to_whoever_waits(bench: Bench) -> None:
    """And it is tried again, for the day on which it is mended."""
    bench.store.fails = [FeedRefused("test", reason="no publication", mend="Make one.")]
    subscription = bench.subscribe("orders")
    with pytest.raises(FeedRefused, match="Make one"):
        await subscription.ready()
    await until(lambda: subscription.status().state == "reading")
    assert subscription.status().error is None


async def test_what_was_mended_before_somebody_waits_is_not_raised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal from before a set-up is not its answer: it is asked anew at once, however long the pause was to be."""
    monkeypatch.setattr(feeding, "REFUSED_SECONDS", 10 * PATIENCE_SECONDS)
    bench.store.fails = [FeedRefused("test", reason="no publication", mend="Make one.")]
    subscription = bench.subscribe("orders")
    await until(lambda: subscription.status().state == "away")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await subscription.ready()
    assert subscription.status().state == "reading"
    assert subscription.status().error is None


async def test_a_fault_of_ours_does_not_end_the_feed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the place is opened again."""
    bench.store.fails = [ZeroDivisionError("a fault")]
    await bench.subscribe("orders").ready()
    assert "begins anew" in caplog.text


async def test_a_listener_that_swallows_cancelling_does_not_keep_a_feed_alive(bench: Bench) -> None:
    """It ends with what it was at."""
    began = asyncio.Event()

    async def hear(commits: Sequence[Commit]) -> None:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    bench.listener.hear = hear  # type: ignore[method-assign] # a listener of this test's own
    subscription = bench.subscribe("orders")
    bench.store.queue.put_nowait([commit(1)])
    await began.wait()
    await subscription.close()
    assert subscription.status().state == "closed"


async def test_telemetry_is_told_of_what_was_heard_and_of_how_it_stands(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """With what the store keeps; its warning is logged once."""
    subscription = bench.subscribe("orders")
    bench.store.queue.put_nowait([commit(1)])
    await until(lambda: bench.store.confirmed == [1])
    await until(lambda: any(isinstance(event, ChangesHeard) for event in bench.told))
    assert ChangesHeard("orders", 1, 0, 0.0, 0.0) in bench.told
    assert FeedState("orders", "reading", 7, 100) in bench.told
    assert (subscription.status().lag_bytes, subscription.status().keeps_bytes_max) == (7, 100)
    assert caplog.text.count("the disk fills up") == 1


async def test_a_place_has_one_reader_in_a_process(bench: Bench) -> None:
    """A second one would never be told anything; once the first is closed, it may have it."""
    first = bench.subscribe("orders")
    with pytest.raises(SettingInvalid, match="'orders'"):
        bench.subscribe("orders")
    await first.close()
    await bench.subscribe("orders").ready()


async def test_ephemeral_places_of_one_kind_are_numbered(bench: Bench) -> None:
    """In the order of subscribing, which is the same in every process."""
    names = [bench.subscribe().status().place for _ in range(2)]
    assert [name[-2:] for name in names] == ["_1", "_2"]
    assert names[0][:-2] == names[1][:-2]
    assert [status.place for status in bench.changes.status()] == names


async def test_a_durable_place_takes_no_second_name(bench: Bench) -> None:
    """`place` is for ephemeral ones."""
    with pytest.raises(SettingInvalid, match="left out"):
        bench.changes.subscribe(bench.listener, durable="orders", place="cache")
    assert bench.changes.subscribe(bench.listener, place="cache").status().place == "cache"


def test_subscribing_without_a_loop_begins_with_the_first_that_runs() -> None:
    """Caches say what they follow where they are made, which may be at import."""

    async def begin() -> None:
        bench.changes.start()
        await subscription.ready()
        await bench.changes.close()

    bench = Bench()
    subscription = bench.subscribe("orders")
    assert subscription.status().state == "opening"
    asyncio.run(begin())
    assert "open" in bench.store.said
    with pytest.raises(NotOpen):
        bench.subscribe("later")
