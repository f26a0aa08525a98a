"""Flights: one load for all, which belongs to none of them."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tercet.cache.loading import flight as room
from tercet.cache.loading.flight import FAILURES_MAX, Flight, Flights, Landing, Throttle, duplicate
from tercet.cache.memory import Memory
from tercet.clock import StoppedClock
from tercet.errors import ServerFailed, WrongLoop


class Loads:
    """Loads that end when they are told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Event()
        self.error: BaseException | None = None

    async def __call__(self, flight: Flight[int]) -> int:
        self.begun += 1
        number = self.begun
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return number


def flights_of(memory: Memory | None = None) -> Flights[int]:
    """Flights of a cache that nothing was dropped of."""
    clock = StoppedClock()
    return Flights(Memory(clock.monotonic) if memory is None else memory, clock.monotonic)


def board(flights: Flights[int], loads: Loads, name: str = "a", *, anew: bool = False) -> asyncio.Future[Landing[int]]:
    """A place in a flight, as a caller takes it."""
    flight = None if anew else flights.find(name)
    return (flight or flights.launch(name, (), loads)).board(asyncio.get_running_loop())


async def value(flights: Flights[int], loads: Loads, name: str = "a", *, anew: bool = False) -> int | None:
    """Wait for a flight like a caller does."""
    landing = await board(flights, loads, name, anew=anew)
    if landing.error is not None:
        raise landing.error
    return landing.value


async def test_two_hundred_callers_make_one_load() -> None:
    """All get what it returns."""
    flights, loads = flights_of(), Loads()
    callers = [asyncio.create_task(value(flights, loads)) for _ in range(200)]
    await asyncio.sleep(0)
    loads.gate.set()
    assert await asyncio.gather(*callers) == [1] * 200
    assert (loads.begun, len(flights)) == (1, 0)


async def test_a_first_caller_who_is_cancelled_hurts_nobody() -> None:
    """The load goes on for the others."""
    flights, loads = flights_of(), Loads()
    first, second = (asyncio.create_task(value(flights, loads)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    loads.gate.set()
    assert await second == 1
    assert (first.cancelled(), loads.begun) == (True, 1)


async def test_a_load_that_nobody_waits_for_still_ends() -> None:
    """It is held by the cache, and a collector that runs meanwhile does not take it."""
    flights, loads = flights_of(), Loads()
    caller = asyncio.create_task(value(flights, loads))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    gc.collect()
    assert len(flights) == 1
    loads.gate.set()
    await asyncio.sleep(0.01)
    assert len(flights) == 0


async def test_a_load_that_nobody_waits_for_does_not_run_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its grace it is cancelled; a caller who comes within it takes it over."""
    monkeypatch.setattr(room, "ORPHAN_SECONDS", 0.02)
    flights, loads = flights_of(), Loads()
    callers = [asyncio.create_task(value(flights, loads, name)) for name in "ab"]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.sleep(0)
    late = asyncio.create_task(value(flights, loads, "b"))
    await asyncio.sleep(0.06)
    assert len(flights) == 1
    loads.gate.set()
    assert await late == 2


async def test_every_caller_gets_an_exception_of_its_own() -> None:
    """Equal in class, text and cause; not one object with everybody's traceback."""
    flights, loads = flights_of(), Loads()
    loads.error = ServerFailed("redis", reason="no room", log="", log_path="x")
    callers = [asyncio.create_task(value(flights, loads)) for _ in range(5)]
    await asyncio.sleep(0)
    loads.gate.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert {(type(error), str(error)) for error in errors} == {(ServerFailed, str(loads.error))}
    assert len({id(error) for error in errors}) == 5
    assert loads.begun == 1


class OddError(Exception):
    """One that cannot be made from its own args."""

    def __init__(self, *, code: int) -> None:
        super().__init__(code)
        self.code = code


class NotedError(Exception):
    """One that counts how often it was made."""


def test_an_exception_that_cannot_be_copied_is_handed_out_itself() -> None:
    """Better one object for several than none."""
    odd = OddError(code=3)
    assert duplicate(odd) is odd


def test_a_copied_exception_keeps_what_it_carries() -> None:
    """Cause, notes, fields and traceback."""
    original = NotedError("outer")
    original.__cause__ = KeyError("inner")
    original.add_note("a note")
    with pytest.raises(NotedError):
        raise original
    twin = duplicate(original)
    assert twin is not original
    assert (twin.args, twin.__cause__, twin.__notes__) == (("outer",), original.__cause__, ["a note"])
    assert twin.__traceback__ is original.__traceback__


async def test_a_loader_that_is_cancelled_from_inside_ends_the_wait() -> None:
    """Its callers are told, not left hanging."""
    flights, loads = flights_of(), Loads()
    loads.error = asyncio.CancelledError()
    loads.gate.set()
    landing = await board(flights, loads)
    assert (landing.cancelled, landing.value, landing.error) == (True, None, None)


@pytest.mark.parametrize("by", ["name", "tag", "everything"])
async def test_a_flight_from_before_a_drop_is_not_joined(by: str) -> None:
    """Who asks after the drop gets a load of its own, and the old one knows that it is old."""
    memory = Memory(StoppedClock().monotonic)
    flights, loads = flights_of(memory), Loads()
    first = flights.launch("a", ("t",), loads)
    waiting = first.board(asyncio.get_running_loop())
    memory.drop(["b"])
    memory.drop_tags(["u"])
    assert flights.find("a") is first
    {"name": lambda: memory.drop(["a"]), "tag": lambda: memory.drop_tags(["t"]), "everything": memory.clear}[by]()
    assert (flights.find("a"), first.is_fresh()) == (None, False)
    second = flights.launch("a", ("t",), loads)
    anew = second.board(asyncio.get_running_loop())
    loads.gate.set()
    assert ((await waiting).value, (await anew).value) == (1, 2)
    assert second.is_fresh()


async def test_a_refresh_joins_nobody_and_others_join_it() -> None:
    """It must have begun after it was asked for."""
    flights, loads = flights_of(), Loads()
    callers = [board(flights, loads, anew=anew) for anew in (False, True, False)]
    await asyncio.sleep(0)
    loads.gate.set()
    assert [(await caller).value for caller in callers] == [1, 2, 2]


def test_one_loop_after_the_other_may_use_them() -> None:
    """asyncio.run twice is fine."""
    flights = flights_of()

    async def once() -> int | None:
        loads = Loads()
        loads.gate.set()
        return await value(flights, loads)

    assert (asyncio.run(once()), asyncio.run(once())) == (1, 1)


async def test_two_loops_at_once_may_not() -> None:
    """They would wake each other's callers."""
    flights, loads = flights_of(), Loads()
    loads.gate.set()
    await value(flights, loads)

    def elsewhere() -> None:
        asyncio.run(value(flights, loads))

    with pytest.raises(WrongLoop):
        await asyncio.to_thread(elsewhere)


async def test_cancel_ends_everything_under_way() -> None:
    """What a closing cache does."""
    flights, loads = flights_of(), Loads()
    caller = board(flights, loads)
    await asyncio.sleep(0)
    tasks = flights.cancel()
    await asyncio.wait(tasks)
    assert (await caller).cancelled
    assert len(flights) == 0


def test_a_failed_load_is_remembered_for_its_time() -> None:
    """Everybody gets a copy of the error until then; a drop of the key, or of everything, forgets it."""
    clock = StoppedClock()
    throttle = Throttle(clock.monotonic)
    odd = ValueError("no")
    throttle.failed("a", odd, 1.0)
    throttle.failed("b", odd, 0.0)
    seen = throttle.error("a")
    assert (repr(seen), seen is odd, throttle.error("b")) == (repr(odd), False, None)
    clock.advance(1.0)
    assert throttle.error("a") is None
    throttle.failed("a", odd, 1.0)
    throttle.forget("a")
    assert throttle.error("a") is None
    throttle.failed("a", odd, 1.0)
    throttle.forget()
    assert throttle.error("a") is None


def test_failures_that_are_remembered_are_bounded() -> None:
    """The oldest goes first."""
    throttle = Throttle(StoppedClock().monotonic)
    for number in range(FAILURES_MAX + 1):
        throttle.failed(str(number), ValueError(number), 1.0)
    assert throttle.error("0") is None
    assert throttle.error("1") is not None
