"""What is held is kept, and what is lost is told: to the work, to whoever waits on the event, and at the end."""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest
from redis.asyncio import Redis

from tercet.errors import LockBusy, LockLost
from tercet.locks import Held, Lock, Locks

LONG = "60s"


class Line(Protocol):
    """The look at the server of conftest."""

    redis: Redis

    async def waiting(self, count: int, name: str = "a", letter: str = "l") -> None: ...

    async def holders(self, name: str = "a", letter: str = "l") -> int: ...

    async def leases(self, name: str = "a") -> dict[bytes, float]: ...


def lock(locks: Locks, **terms: object) -> Lock:
    """The lock of these tests, which neither ends nor is given up while they run."""
    return locks.lock("a", **{"ttl": LONG, "wait": LONG, **terms})  # type: ignore[arg-type]  # as each test says


async def take_away(line: Line, others: Locks, held: Held | None = None) -> Held:
    """Let Redis forget the holder, and give the lock to somebody else; `held` is made to ask whether it is its own."""
    async with line.redis.pipeline(transaction=True) as pipe:
        pipe.delete("tercet:lock:{l:a}:h")
        pipe.incr("tercet:lock:{l:a}:f")
        await pipe.execute()
    after = await lock(others, wait=0).acquire()
    if held is not None:
        # What its timer does after a third of the ttl.
        held._begin()
    return after


async def test_a_lock_outlives_its_ttl_while_it_is_held(locks: Locks, line: Line) -> None:
    """It is renewed by itself: its end in Redis moves on."""
    async with lock(locks, ttl="6s") as held:
        before = await line.leases()
        while (after := await line.leases()) == before:
            await asyncio.sleep(0.01)
        assert after.keys() == before.keys()
        assert all(after[holder] > before[holder] for holder in before)
        assert not held.lost.is_set()


async def test_work_is_cancelled_when_its_lock_is_lost(locks: Locks, others: Locks, line: Line) -> None:
    """The cancellation comes out as LockLost, with the token, and the task is not left cancelled."""
    seen: list[Held] = []

    async def work() -> None:
        async with lock(locks) as held:
            seen.append(await take_away(line, others, held))
            with pytest.raises(asyncio.CancelledError) as caught:
                await asyncio.sleep(3600)
            assert held.lost.is_set()
            assert held.remaining() == 0
            seen.append(held)
            raise caught.value

    with pytest.raises(LockLost, match=r"The lock 'a' .* was lost: Redis says that it is not ours any more") as caught:
        await work()
    after, held = seen
    assert caught.value.token == held.token < after.token
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_error_that_the_work_makes_of_the_loss_does_not_hide_it(
    locks: Locks, others: Locks, line: Line
) -> None:
    """Cleaning up may fail when it is cancelled: that is the cause of LockLost."""

    async def work() -> None:
        async with lock(locks) as held:
            await take_away(line, others, held)
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError as error:
                raise ValueError("cleaning up failed") from error

    with pytest.raises(LockLost) as caught:
        await work()
    assert isinstance(caught.value.__cause__, ValueError)


async def test_work_that_swallows_the_cancellation_is_told_at_its_end(locks: Locks, others: Locks, line: Line) -> None:
    """Its result is worth nothing, whatever it thinks."""

    async def work() -> None:
        async with lock(locks) as held:
            await take_away(line, others, held)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(3600)

    with pytest.raises(LockLost):
        await work()


async def test_a_cancellation_from_elsewhere_stays_one(locks: Locks, others: Locks, line: Line) -> None:
    """Also when the lock is lost in the same moment."""
    inside: asyncio.Future[Held] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with lock(locks) as held:
            inside.set_result(held)
            try:
                await asyncio.sleep(3600)
            finally:
                # Asked to end by us, and then by the loss.
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.sleep(3600)
                assert held.lost.is_set()

    task = asyncio.create_task(work())
    held = await inside
    await take_away(line, others)
    task.cancel()
    await asyncio.sleep(0)
    held._begin()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_around_the_block_stays_a_timeout(locks: Locks, line: Line) -> None:
    """asyncio.timeout and the lock keep their cancellations apart."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), lock(locks):
            await asyncio.sleep(3600)
    assert await line.holders() == 0


async def test_an_error_from_before_the_loss_is_told_as_it_is(locks: Locks, others: Locks, line: Line) -> None:
    """The work had failed under a lock that was its own."""

    async def work() -> None:
        async with lock(locks):
            await take_away(line, others)
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await work()


async def test_a_loss_that_is_found_at_the_end_only_is_told_then(locks: Locks, others: Locks, line: Line) -> None:
    """The work has ended in peace, and somebody else has been beside it, who loses nothing by that."""
    seen: list[Held] = []

    async def work() -> None:
        async with lock(locks):
            seen.append(await take_away(line, others))

    with pytest.raises(LockLost, match="somebody else may have held it before it was given back"):
        await work()
    await seen[0].renew()


async def test_work_can_ask_whether_the_lock_is_still_its_own(locks: Locks, others: Locks, line: Line) -> None:
    """renew() asks Redis, and raises where it stands; no cancellation follows."""

    async def work() -> None:
        async with lock(locks) as held:
            held.check()
            await held.renew()
            await take_away(line, others)
            with pytest.raises(LockLost):
                await held.renew()
            with pytest.raises(LockLost):
                held.check()
            await asyncio.sleep(0)

    with pytest.raises(LockLost):
        await work()


async def test_a_server_that_has_lost_its_memory_is_reminded(locks: Locks, others: Locks, line: Line) -> None:
    """While nobody has been given the lock since, it is still ours, and is written down again."""
    async with lock(locks) as held:
        await line.redis.flushall()
        held._begin()
        while await line.holders() == 0:
            await asyncio.sleep(0.002)
        assert not held.lost.is_set()
        with pytest.raises(LockBusy):
            await lock(others, wait=0).acquire()


async def test_a_lock_without_a_block_tells_its_loss_when_it_is_given_back(
    locks: Locks, others: Locks, line: Line
) -> None:
    """Nobody's work is cancelled; the event is set, and release() raises, once."""
    held = await lock(locks).acquire()
    await take_away(line, others, held)
    await held.lost.wait()
    with pytest.raises(LockLost):
        await held.release()
    await held.release()


async def test_a_blocked_loop_finds_the_loss_before_it_writes(locks: Locks) -> None:
    """check() looks at the clock and asks nobody: work that did not await for too long is told at once."""

    async def work() -> None:
        async with lock(locks, ttl="100ms") as held:
            while held.remaining() > 0:
                pass
            held.check()

    with pytest.raises(LockLost, match="its time was over"):
        await work()


async def test_a_task_may_enter_again_what_it_holds_if_it_chose_so(locks: Locks, others: Locks, line: Line) -> None:
    """Another task may not; the lock is given back when the outermost block ends."""
    again = lock(locks, reentrant=True, wait=0)
    async with again as outer:
        async with again as inner, lock(locks, reentrant=True) as innermost:
            assert outer is inner is innermost
        assert await line.holders() == 1

        async def another() -> None:
            with pytest.raises(LockBusy):
                await again.acquire()

        await asyncio.create_task(another())
        await again.acquire()
        await again.release()
        assert await line.holders() == 1
    assert await line.holders() == 0


async def test_a_loss_in_a_nested_block_comes_out_of_the_outermost(locks: Locks, others: Locks, line: Line) -> None:
    """The inner blocks only pass the cancellation on."""
    mine = lock(locks, reentrant=True)

    async def inner() -> None:
        async with mine as held:
            await take_away(line, others, held)
            await asyncio.sleep(3600)

    async def work() -> None:
        async with mine:
            with pytest.raises(asyncio.CancelledError) as caught:
                await inner()
            raise caught.value

    with pytest.raises(LockLost):
        await work()


async def test_readers_share_and_a_writer_is_alone(locks: Locks, others: Locks, line: Line) -> None:
    """Two kinds of holding under one name."""
    mine, theirs = locks.read_write("a", ttl=LONG, wait=0), others.read_write("a", ttl=LONG, wait=0)
    async with mine.read(), theirs.read(), mine.read():
        assert await line.holders(letter="w") == 3
        with pytest.raises(LockBusy, match="The read-write 'a' is held"):
            await theirs.write().acquire()
    async with mine.write():
        with pytest.raises(LockBusy):
            await theirs.read().acquire()
        with pytest.raises(LockBusy):
            await theirs.write().acquire()


async def test_a_waiting_writer_comes_before_later_readers(locks: Locks, others: Locks, line: Line) -> None:
    """All stand in one line, so readers that follow one another cannot starve it; those behind it come together."""
    pair = locks.read_write("a", ttl=LONG, wait=LONG)
    order: list[str] = []
    together = asyncio.Barrier(2)

    async def read(name: str) -> None:
        async with pair.read():
            order.append(name)
            await together.wait()

    async def write() -> None:
        async with pair.write():
            order.append("writer")

    first = await pair.read().acquire()
    tasks = [asyncio.create_task(write())]
    await line.waiting(1, letter="w")
    tasks += [asyncio.create_task(read(f"reader {number}")) for number in range(2)]
    await line.waiting(3, letter="w")
    with pytest.raises(LockBusy):
        await others.read_write("a", wait=0).read().acquire()
    await first.release()
    await asyncio.gather(*tasks)
    assert order == ["writer", "reader 0", "reader 1"]


async def test_a_semaphore_lets_in_as_many_as_it_has_permits(locks: Locks, others: Locks, line: Line) -> None:
    """Never more, in their order, and each place that comes free is given on."""
    inside, most = 0, 0
    tokens: dict[int, int] = {}

    async def work(number: int) -> None:
        nonlocal inside, most
        async with (locks, others)[number % 2].semaphore("a", 3, ttl=LONG, wait=LONG) as held:
            inside += 1
            most = max(most, inside)
            tokens[number] = held.token
            await asyncio.sleep(0.002)
            inside -= 1

    gate = [await locks.semaphore("a", 3, ttl=LONG).acquire() for _ in range(3)]
    tasks = []
    for number in range(12):
        tasks.append(asyncio.create_task(work(number)))
        await line.waiting(number + 1, letter="s")
    for held in gate:
        await held.release()
    await asyncio.gather(*tasks)
    assert most == 3
    # Two that are let in together may run in either order, but not be granted their places so.
    assert sorted(tokens, key=tokens.__getitem__) == list(range(12))
    assert await line.holders(letter="s") == 0


async def test_lock_pair_and_semaphore_of_one_name_are_three_things(locks: Locks) -> None:
    """None of them waits for another."""
    async with (
        locks.lock("a", wait=0),
        locks.read_write("a", wait=0).write(),
        locks.semaphore("a", 1, wait=0),
    ):
        pass
