"""The line: one after the other, in the order in which they came, and nothing is left behind."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

import pytest
from redis.asyncio import Redis

from tercet.clock import SystemClock
from tercet.errors import LockBusy, NotOpen, SettingInvalid
from tercet.locks import Lock, Locks
from tercet.telemetry import Operation, Telemetry
from tercet.wire import Wire

# So long that no test can see it end.
LONG = "60s"


class Line(Protocol):
    """The look at the server of conftest."""

    redis: Redis

    async def waiting(self, count: int, name: str = "a", letter: str = "l") -> None: ...

    async def holders(self, name: str = "a", letter: str = "l") -> int: ...


def lock(locks: Locks, **terms: object) -> Lock:
    """The lock of these tests, which neither ends nor is given up while they run."""
    return locks.lock("a", **{"ttl": LONG, "wait": LONG, **terms})  # type: ignore[arg-type]  # as each test says


async def test_holders_come_one_after_the_other_in_their_order(locks: Locks, others: Locks, line: Line) -> None:
    """Two processes stand in one line; tokens grow with every grant."""
    order: list[tuple[int, int]] = []
    inside = 0

    async def work(number: int, mine: Locks) -> None:
        nonlocal inside
        async with lock(mine) as held:
            inside += 1
            assert inside == 1
            order.append((number, held.token))
            await asyncio.sleep(0.001)
            inside -= 1

    async with lock(locks):
        tasks = []
        for number in range(20):
            tasks.append(asyncio.create_task(work(number, (locks, others)[number % 2])))
            await line.waiting(number + 1)
    await asyncio.gather(*tasks)
    assert [number for number, _ in order] == list(range(20))
    tokens = [token for _, token in order]
    assert tokens == sorted(set(tokens))


async def test_a_free_lock_takes_one_command_and_so_does_its_release(locks: Locks, line: Line) -> None:
    """What a lock costs that nobody contends for."""
    async with lock(locks, wait=0):
        pass
    before = (await line.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    async with lock(locks, wait=0):
        pass
    after = (await line.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before == 2


async def test_without_waiting_it_is_tried_once_and_says_who_has_it(locks: Locks, others: Locks, line: Line) -> None:
    """The lock's name, its holder's process, and when to come back."""
    async with lock(locks):
        with pytest.raises(LockBusy, match=r"The lock 'a' is held by process \d+ on ") as caught:
            await lock(others, wait=0).acquire()
        assert caught.value.waited == 0.0
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60
        await line.waiting(0)
    async with lock(others, wait=0) as held:
        assert held.remaining() > 0


async def test_who_waits_in_vain_is_told_and_leaves_the_line(locks: Locks, others: Locks, line: Line) -> None:
    """The wait has its end, and the next in the line is not held up by it."""
    async with lock(locks):
        with pytest.raises(LockBusy, match="did not come free within"):
            await lock(others, wait="50ms").acquire()
        await line.waiting(0)
    assert await line.holders() == 0


async def test_a_task_that_waits_for_itself_is_told_so(locks: Locks) -> None:
    """The error names the mend."""
    async with lock(locks):
        with pytest.raises(LockBusy, match="this very task, which reentrant=True would let in again"):
            await lock(locks, wait="20ms").acquire()


async def test_who_only_tries_does_not_overtake_who_waits(locks: Locks, others: Locks, line: Line) -> None:
    """Between a release and the grant to the first in the line there is no gap."""
    first = await lock(locks).acquire()
    waiting = asyncio.create_task(lock(others).acquire())
    await line.waiting(1)
    await first.release()
    with pytest.raises(LockBusy):
        await lock(locks, wait=0).acquire()
    await (await waiting).release()


async def test_a_cancelled_waiter_leaves_the_line_at_once(locks: Locks, others: Locks, line: Line) -> None:
    """When its cancellation is over, Redis has forgotten it, and the one behind it is first."""
    first = await lock(locks).acquire()
    second = asyncio.create_task(lock(others).acquire())
    await line.waiting(1)
    third = asyncio.create_task(lock(locks).acquire())
    await line.waiting(2)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await line.waiting(1)
    await first.release()
    await (await third).release()
    assert await line.holders() == 0


async def test_a_waiter_that_is_cancelled_at_any_moment_leaks_nothing(locks: Locks, others: Locks, line: Line) -> None:
    """Before the question, while it is on its way, in the line, and with the grant already in its hands."""
    for turns in range(40):
        first = await lock(locks).acquire()
        waiter = asyncio.create_task(lock(others).acquire())
        if turns >= 20:
            await line.waiting(1)
            releasing = asyncio.create_task(first.release())
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        waiter.cancel()
        with suppress(asyncio.CancelledError):
            await (await waiter).release()
        if turns >= 20:
            await releasing
        else:
            await first.release()
        # Free: it could not be tried with success otherwise.
        await (await lock(locks, wait=0).acquire()).release()
        await line.waiting(0)


async def test_giving_back_twice_takes_nothing_from_the_next_holder(locks: Locks, others: Locks) -> None:
    """A release belongs to its grant."""
    held = await lock(locks).acquire()
    await held.release()
    async with lock(others):
        await held.release()
        with pytest.raises(LockBusy):
            await lock(locks, wait=0).acquire()
    assert held.remaining() == 0


async def test_a_lock_gives_back_what_its_task_has_acquired(locks: Locks, line: Line) -> None:
    """acquire() and release() of one object, as other locks have them; too many releases do nothing."""
    mine = lock(locks)
    await mine.acquire()
    assert await line.holders() == 1
    await mine.release()
    assert await line.holders() == 0
    await mine.release()


async def test_nobody_gives_back_what_another_task_holds(locks: Locks, line: Line) -> None:
    """One object, several tasks: each block ends its own holding, also when that was given back early."""
    places = locks.semaphore("a", 2, ttl=LONG, wait=0)
    entered, done = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        async with places as held:
            entered.set()
            await done.wait()
            held.check()

    task = asyncio.create_task(other())
    await entered.wait()
    async with places as mine:
        await mine.release()
        await places.release()
        assert await line.holders(letter="s") == 1
    assert await line.holders(letter="s") == 1
    done.set()
    await task


async def test_what_was_given_back_cannot_be_kept_any_longer(locks: Locks, line: Line) -> None:
    """A renewal after the release would hold it for nobody."""
    async with lock(locks) as held:
        pass
    with pytest.raises(NotOpen, match="The lock 'a' has been closed"):
        await held.renew()
    with pytest.raises(NotOpen):
        held.check()
    assert await line.holders() == 0


async def test_the_body_may_fail_and_the_lock_is_given_back(locks: Locks, line: Line) -> None:
    """Its error is the one that is seen."""
    with pytest.raises(KeyError):
        async with lock(locks):
            raise KeyError("mine")
    assert await line.holders() == 0


async def test_a_cancelled_body_gives_the_lock_back(locks: Locks, line: Line) -> None:
    """And stays cancelled."""
    inside = asyncio.Event()

    async def work() -> None:
        async with lock(locks):
            inside.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await line.holders() == 0


@pytest.mark.parametrize("name", ["", "}", "{}", "a}b", "ü 锁 \n\x00", "x" * 5000, "\ud800"])
async def test_any_text_is_a_name(locks: Locks, others: Locks, name: str) -> None:
    """The same name is the same lock, and another one is not."""
    async with locks.lock(name, ttl=LONG), locks.lock(name + "2", ttl=LONG):
        with pytest.raises(LockBusy):
            await others.lock(name, wait=0).acquire()


def test_terms_that_cannot_be_kept_are_refused_before_anything_is_sent() -> None:
    """Where the lock is written down, with its name."""
    locks = Locks(None)  # type: ignore[arg-type]  # nothing is sent
    with pytest.raises(SettingInvalid, match="The lock 'a' sets ttl to 'soon'"):
        locks.lock("a", ttl="soon")
    with pytest.raises(SettingInvalid, match="The semaphore 'a' sets permits to 0"):
        locks.semaphore("a", 0)
    with pytest.raises(SettingInvalid, match="The lock 'a' sets replicas to -1"):
        locks.lock("a", replicas=-1)


async def test_a_lock_keeps_few_keys_and_all_of_them_end(locks: Locks, others: Locks, line: Line) -> None:
    """Four at most, however many wait; one when it is free, the token, for a month."""
    first = await lock(locks).acquire()
    waiting = [asyncio.create_task(lock(others).acquire()) for _ in range(10)]
    await line.waiting(10)
    keys = await line.redis.keys("*")
    assert len(keys) == 4
    assert all([await line.redis.pttl(key) > 0 for key in keys])
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await first.release()
    (fence,) = await line.redis.keys("*")
    assert 29 * 86_400 < await line.redis.ttl(fence) <= 31 * 86_400


async def test_tokens_grow_though_redis_has_forgotten_everything(locks: Locks, line: Line) -> None:
    """The server's clock takes over where the last number was lost."""
    async with lock(locks) as held:
        first = held.token
    await line.redis.flushall()
    async with lock(locks) as held:
        assert held.token > first


async def test_tokens_grow_though_the_servers_clock_was_set_back(locks: Locks, line: Line) -> None:
    """A number that is ahead of the clock goes on by one."""
    async with lock(locks) as held:
        ahead = held.token + 10**12
    await line.redis.set("tercet:lock:{l:a}:f", ahead)
    async with lock(locks) as held:
        assert held.token == ahead + 1


async def test_who_has_died_in_the_line_is_passed_over(locks: Locks, others: Locks, line: Line) -> None:
    """A process that hears nothing any more does not get what it could not use."""
    first = await lock(locks).acquire()
    # Stands before the living one, and nobody listens at its channel.
    await line.redis.zadd("tercet:lock:{l:a}:q", {"x|0|60000|gone/1/ab|1": 0})
    await line.redis.zadd("tercet:lock:{l:a}:p", {"x|0|60000|gone/1/ab|1": 10**14})
    living = asyncio.create_task(lock(others).acquire())
    await line.waiting(2)
    await first.release()
    await (await living).release()


async def test_who_has_died_while_holding_is_followed_when_its_lease_ends(locks: Locks, line: Line) -> None:
    """The first in the line looks then; nobody has to tell it."""
    held = await lock(locks, ttl="300ms").acquire()
    # As if its process were gone: nothing renews it.
    held._stop()
    after = await lock(locks).acquire()
    assert after.token > held.token
    await after.release()


async def test_a_message_that_was_lost_costs_a_moment_only(locks: Locks, others: Locks, line: Line) -> None:
    """Who was granted the lock and was not told finds it when it asks again."""
    first = await lock(locks).acquire()
    waiting = asyncio.create_task(lock(others).acquire())
    await line.waiting(1)
    tickets = others._where_we_are().post._tickets
    (wish,) = tickets
    kept = tickets.pop(wish)
    await first.release()
    while await line.holders() == 0:
        await asyncio.sleep(0.002)
    tickets[wish] = kept
    held = await waiting
    assert held.token > first.token
    await held.release()


async def test_a_message_from_an_ended_grant_is_not_believed(locks: Locks, others: Locks, line: Line) -> None:
    """It comes late, after Redis has said that somebody else holds the lock."""
    first = await lock(locks).acquire()
    waiting = asyncio.create_task(lock(others).acquire())
    await line.waiting(1)
    post = others._where_we_are().post
    (wish,) = post._tickets
    # The answer to its question has come when it rests.
    while post._tickets[wish]._bell is None:
        await asyncio.sleep(0.002)
    post._hear(wish + b" %d" % (first.token - 1))
    for _ in range(10):
        await asyncio.sleep(0.002)
    assert not waiting.done()
    await first.release()
    await (await waiting).release()


def test_one_object_serves_one_event_loop_after_the_other(redis_url: str) -> None:
    """Nothing of an ended loop is used again, also by who has to wait there."""
    clock, telemetry = SystemClock(), Telemetry()
    wire = Wire.at(redis_url, deadline=20.0, clock=clock, telemetry=telemetry)
    locks = Locks(wire, clock=clock, telemetry=telemetry)

    async def contend() -> None:
        first = await lock(locks).acquire()
        second = asyncio.create_task(lock(locks).acquire())
        await asyncio.sleep(0)
        await first.release()
        await (await second).release()
        await wire.close()

    asyncio.run(contend())
    asyncio.run(contend())


async def test_acquiring_is_told_to_telemetry(redis_url: str) -> None:
    """One operation for each, with what came of it."""
    heard: list[Operation] = []
    clock, telemetry = SystemClock(), Telemetry()
    telemetry.listen(lambda event: heard.append(event) if isinstance(event, Operation) else None)
    wire = Wire.at(redis_url, deadline=20.0, clock=clock, telemetry=Telemetry())
    locks = Locks(wire, clock=clock, telemetry=telemetry)
    async with lock(locks):
        with pytest.raises(LockBusy):
            await lock(locks, wait=0).acquire()
    await wire.close()
    assert [(one.room, one.name, one.outcome, one.error) for one in heard] == [
        ("locks", "acquire", "ok", None),
        ("locks", "acquire", "failed", "LockBusy"),
    ]
