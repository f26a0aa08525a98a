"""Limits on a real server: exact by its clock, all or nothing, whole among processes, short, never without an end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tercet.limits import Limits
from tercet.wire import Wire

SRC = Path(__file__).parents[3] / "src"

# What a key may take, its name and its place in Redis' tables included.
KEY_BYTES_MAX = 104

# One of several processes: as many checks as it is told, some at a time; what passed is printed.
WORKER = """
import asyncio, json, sys
from tercet.clock import StoppedClock, SystemClock
from tercet.limits import Limits
from tercet.telemetry import Telemetry
from tercet.wire import Wire

async def main(url, local, checks):
    wire = Wire.at(url, deadline=30.0, clock=SystemClock(), telemetry=Telemetry())
    # A clock that stands still: what is held is not given up, however slow the machine is.
    limit = Limits(wire, clock=StoppedClock()).limit("100/day", local=local, when_away="raise")
    await limit.peek("other")
    print("ready", flush=True)
    sys.stdin.readline()
    passed = 0
    for _ in range(checks // 10):
        passed += sum(map(bool, await asyncio.gather(*(limit.check("hot") for _ in range(10)))))
    await wire.close()
    print(json.dumps(passed))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def now_us(client: redis.Redis) -> int:
    """The server's clock."""
    seconds, us = client.time()
    return int(seconds) * 1_000_000 + int(us)


async def test_a_call_passes_after_exactly_its_wait_by_the_server_s_clock(limits: Limits, redis_url: str) -> None:
    """Asked without a pause: no call passes before the moment that was told, and none is refused after it."""
    limit = limits.limit("4/second", burst=1)
    refusals = 0
    with redis.Redis.from_url(redis_url) as client:
        while refusals < 4:
            before = now_us(client)
            decision = await limit.check("a")
            after = now_us(client)
            if decision.allowed:
                continue
            refusals += 1
            wait = round(decision.retry_after * 1_000_000)
            # The script ran between `before` and `after`, so the moment that it told lies between these.
            earliest, latest = before + wait, after + wait
            while not decision.allowed:
                asked = now_us(client)
                decision = await limit.check("a")
                answered = now_us(client)
                assert answered >= earliest if decision.allowed else asked <= latest


async def test_several_rates_are_counted_in_one_place_and_all_or_nothing(
    limits: Limits, wire: Wire, redis_url: str
) -> None:
    """A refused call changes no byte of what is kept, however often it comes."""
    limit = limits.limit("5/hour", "3/day", "100/second")
    assert [bool(await limit.check("a")) for _ in range(3)] == [True] * 3
    with redis.Redis.from_url(redis_url) as client:
        (name,) = client.keys()
        assert name == b"tercet:limit:{a}:100/1s,5/3600s,3/86400s"
        kept = client.get(name)
        refused = [await limit.check("a") for _ in range(20)]
        assert not any(refused)
        assert {one.limit for one in refused} == {3}
        assert client.get(name) == kept


async def test_looking_changes_nothing_on_the_server(limits: Limits, redis_url: str) -> None:
    """Neither what is kept nor how long; and a key that nobody used is not made."""
    limit = limits.limit("5/day")
    await limit.check("a", cost=2)
    with redis.Redis.from_url(redis_url) as client:
        kept, ends = client.get("tercet:limit:{a}:5/86400s"), client.pttl("tercet:limit:{a}:5/86400s")
        assert [(await limit.peek(key)).remaining for key in "aab"] == [3, 3, 5]
        assert client.get("tercet:limit:{a}:5/86400s") == kept
        assert client.pttl("tercet:limit:{a}:5/86400s") <= ends
        assert client.keys() == [b"tercet:limit:{a}:5/86400s"]


async def test_a_key_is_short_and_does_not_grow(limits: Limits, redis_url: str) -> None:
    """Its name included it stays below the bound, after one call and after a thousand, the last of them refused."""
    limit = limits.limit("1000/day")
    sizes: list[int] = []
    with redis.Redis.from_url(redis_url) as client:
        for calls in (1, 9, 1_000):
            await asyncio.gather(*(limit.check("user:1042") for _ in range(calls)))
            (name,) = client.keys()
            sizes.append(client.memory_usage(name) or 0)
    assert 0 < min(sizes) <= max(sizes) <= KEY_BYTES_MAX, sizes


async def test_no_key_is_ever_without_an_end(limits: Limits, redis_url: str) -> None:
    """Whatever is called, with one rate or several, held here or not."""
    for limit in (
        limits.limit("7/second"),
        limits.limit("3/day", "1/us", name="api"),
        limits.limit("2/week", burst=9),
        limits.limit("50/day", local=10),
    ):
        for key in ("a", "b", "x" * 500, "{}"):
            for cost in (1, 1, 2):
                if cost <= limit._most:
                    await limit.check(key, cost=cost)
            await limit.peek(key)
    with redis.Redis.from_url(redis_url) as client:
        names = client.keys()
        # What lasts for a part of a second may have ended.
        assert len(names) >= 3 * 4
        assert [name for name in names if client.pttl(name) == -1] == []
        assert max(len(name) for name in names) < 200


async def test_a_key_stays_as_long_as_its_slowest_rate_remembers(limits: Limits, redis_url: str) -> None:
    """Whichever of the rates that is."""
    limit = limits.limit("1/hour", "1000/day", burst=100)
    assert (await limit.check("a", cost=50)).reset_after == 50 * 3_600.0
    with redis.Redis.from_url(redis_url) as client:
        (name,) = client.keys()
        # Two hours for a machine that is slow between the two.
        assert 48 * 3_600 <= client.ttl(name) <= 50 * 3_600 + 1


async def test_a_reset_leaves_nothing_behind(limits: Limits, redis_url: str) -> None:
    """The key is gone, and the whole burst is there."""
    limit = limits.limit("2/day", "100/week")
    for _ in range(3):
        await limit.check("a")
    await limit.reset("a")
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == []
    assert (await limit.check("a")).remaining == 1


async def test_many_tasks_pass_exactly_what_is_allowed(limits: Limits) -> None:
    """Three hundred at once, of which fifty may."""
    limit = limits.limit("50/day")
    decisions = await asyncio.gather(*(limit.check("a") for _ in range(300)))
    assert sum(map(bool, decisions)) == 50
    assert sorted(one.remaining for one in decisions if one) == list(range(50))


async def test_a_smaller_burst_in_a_deploy_makes_nobody_wait_longer_than_for_it(limits: Limits) -> None:
    """A named limit that was used up by the old rules asks for one token's time by the new ones."""
    old = limits.limit("1/hour", burst=100, name="api")
    assert await old.check("a", cost=100)
    new = limits.limit("1/hour", burst=2, name="api")
    refused = await new.check("a")
    assert not refused
    assert refused.retry_after <= 3_600.0
    assert (await old.peek("a")).remaining >= 98


@pytest.mark.parametrize("local", [0, 8])
def test_processes_together_never_pass_more_than_is_allowed(redis_url: str, local: int) -> None:
    """Four of them, each with more to do than there is; with batches, what is missing is what they still held."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORKER, redis_url, str(local), "60"],
            env={"PYTHONPATH": str(SRC)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        passed = [json.loads(worker.communicate("go\n", timeout=200)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert sum(passed) <= 100
    assert sum(passed) >= 100 - local * len(workers)
