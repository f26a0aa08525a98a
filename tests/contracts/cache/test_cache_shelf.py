"""What a shelf promises, on a real server: entries, versions, leases, waiting, drops."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import tercet
from tercet.cache.encoding.key import key_of
from tercet.cache.shelf import Drop, Grant
from tercet.cache.shelf.layout import Layout
from tercet.errors import SettingInvalid, StoreError

Desk = Any

NAME = "f:shop.profile(i42)"
KEYS = Layout("tercet")
# Longer than any test: a wait that ends, ends for a reason.
LONG_SECONDS = 60.0


async def grant(desk: Desk, shelf: Any, *tags: str, name: str = NAME) -> Grant:
    """Leave to load, which this shelf must get."""
    granted: Grant = await shelf.lease(name, tags)
    assert granted.token is not None
    assert granted.frame is None
    return granted


async def test_an_entry_is_found_by_everybody_until_its_time_is_over(desk: Desk) -> None:
    """One and many are read alike; the time is Redis' own expiry."""
    here, there = desk.shelf(), desk.shelf()
    await here.write(NAME, b"frame", 100.0, ())
    assert await there.read_one(NAME) == b"frame"
    assert await there.read_one(NAME, big=True) == b"frame"
    assert await there.read([NAME, "f:none"], ["t"]) == ([b"frame", None], {"t": None})
    assert await there.read([], []) == ([], {})
    assert 90_000 < await desk.redis.pttl(KEYS.entry(NAME)) <= 100_000


async def test_keys_lie_under_the_prefix_with_the_name_in_braces(desk: Desk) -> None:
    """So a cluster keeps an entry and its lease in one slot, and people can read them."""
    shelf = desk.shelf()
    await grant(desk, shelf, "user:42")
    assert set(await desk.redis.keys()) == {b"tercet:2:l:{f:shop.profile(i42)}", b"tercet:2:t:user:42"}
    await shelf.write(NAME, b"x", 60, ())
    assert set(await desk.redis.keys()) == {
        b"tercet:2:e:{f:shop.profile(i42)}",
        b"tercet:2:t:user:42",
        b"tercet:2:inv",
    }


async def test_any_text_is_a_name_or_a_tag(desk: Desk) -> None:
    """Braces, globs, spaces, other scripts and half a surrogate pair: each is its own."""
    here, there = desk.shelf(), desk.shelf()
    heard: list[Drop | None] = []
    there.follow(heard.append, lambda _: None)
    await desk.until(lambda: there.bus.connected)
    names = ["k:", "k:}{", "k:{a}", "k:*", "k:[a", "k:a b\r\n", "k:이름", "k:\ud800", "k:\x00"]
    for name in names:
        await here.write(name, name.encode("utf-8", "surrogatepass"), 60, ())
        made = await here.versions([name])
        assert (await there.read([name], [name]))[1] == made
    assert (await there.read(names, []))[0] == [name.encode("utf-8", "surrogatepass") for name in names]
    await here.drop(Drop(names=tuple(names), tags=tuple(names)))
    assert await there.read(names, names) == ([None] * len(names), dict.fromkeys(names))
    await desk.until(lambda: heard[-1] == Drop(names=tuple(names), tags=tuple(names)))


@pytest.mark.parametrize("namespace", ["", "a b", "a:b", "*", "a" * 65, "{a}"])
def test_a_namespace_that_could_reach_beyond_itself_is_refused(desk: Desk, namespace: str) -> None:
    """It stands in every key and in every glob."""
    with pytest.raises(SettingInvalid, match="namespace"):
        desk.shelf(namespace=namespace)


async def test_versions_are_made_once_and_kept_longer_than_entries(desk: Desk) -> None:
    """Of several who make one at the same time, one wins; a fill never shortens a life."""
    shelves = [desk.shelf() for _ in range(3)]
    made = await asyncio.gather(*(shelf.versions(["a", "b"]) for shelf in shelves))
    assert made[0] == made[1] == made[2]
    assert None not in made[0].values()
    assert made[0]["a"] != made[0]["b"]
    assert await shelves[0].versions([]) == {}
    ten_days = 10 * 86_400.0
    assert await shelves[0].write(NAME, b"x", ten_days, ["a", "none"]) == (True, {"a": made[0]["a"], "none": None})
    assert await desk.redis.pttl(KEYS.tag("a")) > 1.9 * ten_days * 1000
    await shelves[0].write("f:short", b"x", 1.0, ["a"])
    assert await desk.redis.pttl(KEYS.tag("a")) > 1.9 * ten_days * 1000
    assert await desk.redis.pttl(KEYS.tag("b")) > 86_400_000


async def test_one_of_all_may_load_and_the_others_are_told_who_does(desk: Desk) -> None:
    """However many ask at once, in however many processes; versions come to each."""
    shelves = [desk.shelf() for _ in range(4)]
    grants = await asyncio.gather(*(shelf.lease(NAME, ["t"]) for shelf in shelves for _ in range(10)))
    (ours,) = [one for one in grants if one.token is not None]
    others = [one for one in grants if one.token is None]
    assert len({one.holder for one in others}) == 1
    assert None not in {one.holder for one in others}
    assert all(one.frame is None and one.versions == ours.versions for one in others)
    assert None not in ours.versions.values()
    assert "process" in (await shelves[0].holder(NAME) or "")
    assert await shelves[0].holder("f:nobody") is None


async def test_a_fill_ends_the_lease_and_is_what_the_next_one_gets(desk: Desk) -> None:
    """The token is good for one fill."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here, "t")
    frame = desk.frame(t=ours.versions["t"])
    assert await here.fill(NAME, frame, 60, ["t"], ours.token) == (True, ours.versions)
    assert await here.fill(NAME, b"again", 60, ["t"], ours.token) == (False, ours.versions)
    assert await there.lease(NAME, ["t"]) == Grant(frame, None, None, ours.versions)
    assert await there.holder(NAME) is None


async def test_a_large_entry_is_filled_and_read_like_a_small_one(desk: Desk) -> None:
    """It travels beside the small ones, and what comes after it is asked after it."""
    shelf = desk.shelf()
    ours = await grant(desk, shelf, "t")
    frame = desk.frame(os.urandom(3_000_000), t=ours.versions["t"])
    assert await shelf.fill(NAME, frame, 60, ["t"], ours.token) == (True, ours.versions)
    assert await shelf.read_one(NAME, big=True) == frame
    assert (await shelf.lease(NAME, ["t"])).frame == frame


DROPS = {
    "name": Drop(names=(NAME,)),
    "function": Drop(patterns=("shop.profile",)),
    "pattern": Drop(patterns=("shop.*", "nothing")),
    "everything": Drop(everything=True),
}


@pytest.mark.parametrize("how", DROPS)
async def test_a_late_fill_of_old_data_is_refused_after_a_drop(desk: Desk, how: str) -> None:
    """The load began before the drop, so it may have read what is no longer true."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here)
    await there.drop(DROPS[how])
    assert await here.fill(NAME, b"old", 60, (), ours.token) == (False, {})
    assert await there.read_one(NAME) is None
    assert not await here.renew(NAME, ours.token)
    after = await grant(desk, here)
    assert await here.fill(NAME, b"new", 60, (), after.token) == (True, {})


async def test_a_late_fill_of_old_data_is_born_invalid_after_its_tag_was_dropped(desk: Desk) -> None:
    """It says so at once, and everybody else may load instead of it: one of them."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here, "t")
    await there.drop(Drop(tags=("t",)))
    kept, after = await here.fill(NAME, desk.frame(t=ours.versions["t"]), 60, ["t"], ours.token)
    assert kept
    assert after == {"t": None}
    first, second = await asyncio.gather(here.lease(NAME, ["t"]), there.lease(NAME, ["t"]))
    winner, loser = (first, second) if first.token else (second, first)
    assert winner.frame is None
    assert winner.token is not None
    assert winner.versions["t"] not in (None, ours.versions["t"])
    assert loser.token is None
    assert loser.holder is not None


async def test_a_write_takes_the_lease_away(desk: Desk) -> None:
    """What a load brings that began before it is older."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here)
    await there.write(NAME, b"set", 60, ())
    assert await here.fill(NAME, b"old", 60, (), ours.token) == (False, {})
    assert await here.read_one(NAME) == b"set"


async def test_who_asks_anew_loads_whatever_there_is(desk: Desk) -> None:
    """An entry is no hindrance, and neither is somebody else's load, which is refused then."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here)
    theirs = await there.lease(NAME, (), anew=True)
    assert theirs.token is not None
    assert not await here.renew(NAME, ours.token)
    assert await there.renew(NAME, theirs.token)
    assert await here.fill(NAME, b"old", 60, (), ours.token) == (False, {})
    assert await there.fill(NAME, b"new", 60, (), theirs.token) == (True, {})
    again = await here.lease(NAME, (), anew=True)
    assert (again.frame, again.token is None) == (b"new", False)


async def test_an_entry_can_be_replaced_by_one_of_those_who_have_seen_it(desk: Desk) -> None:
    """Stale, or of another type: it stays readable meanwhile; one who has seen an older one gets what is there."""
    here, there = desk.shelf(), desk.shelf()
    stale = desk.frame(b"stale")
    await here.write(NAME, stale, 60, ())
    first = await here.lease(NAME, (), instead=stale)
    assert first.token is not None
    second = await there.lease(NAME, (), instead=stale)
    assert (second.frame, second.token) == (None, None)
    assert second.holder is not None
    assert await there.read_one(NAME) == stale
    fresh = desk.frame(b"fresh")
    await here.fill(NAME, fresh, 60, (), first.token)
    assert (await there.lease(NAME, (), instead=stale)).frame == fresh


async def test_an_entry_that_nobody_can_read_counts_as_none(desk: Desk) -> None:
    """Another version's, or a stranger's."""
    shelf = desk.shelf()
    await desk.redis.set(KEYS.entry(NAME), b"\xff not a frame")
    assert (await shelf.lease(NAME, ())).token is not None


async def test_an_entry_under_other_tags_than_were_asked_is_handed_out(desk: Desk) -> None:
    """Whether it is true cannot be said here: who asked reads its versions."""
    shelf = desk.shelf()
    frame = desk.frame(u=b"12345678")
    await shelf.write(NAME, frame, 60, ())
    assert (await shelf.lease(NAME, ["t"])).frame == frame


async def test_a_released_lease_is_free(desk: Desk) -> None:
    """The load failed; a token that is not the lease's releases nothing."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here)
    await there.release(NAME, b"not the token")
    assert (await there.lease(NAME, ())).token is None
    await here.release(NAME, ours.token)
    await here.release(NAME, ours.token)
    assert (await there.lease(NAME, ())).token is not None


async def test_a_lease_lives_as_long_as_it_is_renewed(desk: Desk) -> None:
    """It has an expiry of its own, which a renewal sets back."""
    shelf = desk.shelf()
    ours = await grant(desk, shelf)
    await desk.redis.pexpire(KEYS.lease(NAME), 1000)
    assert await shelf.renew(NAME, ours.token)
    assert 1000 < await desk.redis.pttl(KEYS.lease(NAME)) <= 5000
    await desk.redis.delete(KEYS.lease(NAME))
    assert not await shelf.renew(NAME, ours.token)
    assert await desk.redis.exists(KEYS.lease(NAME)) == 0


async def test_a_lease_whose_asker_was_cancelled_is_nobody_s(desk: Desk) -> None:
    """Nobody would fill it; whoever comes next need not wait for it to run out."""
    shelf = desk.shelf()
    await grant(desk, shelf, "t", name="f:warm")
    for turns in range(25):
        task = asyncio.ensure_future(shelf.lease(NAME, ["t"]))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            granted = task.result()
            assert granted.token is not None
            await shelf.release(NAME, granted.token)
            continue
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await desk.until(lambda: not shelf._waiting._forsaken)
        assert await desk.redis.exists(KEYS.lease(NAME)) == 0


async def waiter(desk: Desk, shelf: Any) -> asyncio.Task[None]:
    """Somebody who waits for whoever loads."""
    told = await shelf.lease(NAME, ())
    assert told.holder is not None
    task = asyncio.ensure_future(shelf.wait(NAME, told.holder, LONG_SECONDS))
    await desk.until(lambda: shelf._waiting._events)
    return task


@pytest.mark.parametrize("how", ["fill", "release", "write", "drop", "anew"])
async def test_who_waits_goes_on_when_the_load_is_over(desk: Desk, how: str) -> None:
    """By a push, or by a look where there is none."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here)
    waits = [await waiter(desk, there) for _ in range(3)]
    match how:
        case "fill":
            await here.fill(NAME, b"x", 60, (), ours.token)
        case "release":
            await here.release(NAME, ours.token)
        case "write":
            await here.write(NAME, b"x", 60, ())
        case "drop":
            await here.drop(Drop(names=(NAME,)))
        case "anew":
            await here.lease(NAME, (), anew=True)
    await asyncio.gather(*waits)
    assert not there._waiting._events


async def test_who_waits_goes_on_though_it_was_over_before(desk: Desk) -> None:
    """Between the lease and the wait it may have been filled."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here)
    told = await there.lease(NAME, ())
    await here.fill(NAME, b"x", 60, (), ours.token)
    await there.wait(NAME, told.holder, LONG_SECONDS)


async def test_who_waits_goes_on_when_the_time_is_over_and_can_be_cancelled(desk: Desk) -> None:
    """The lease is left as it is; nothing of the wait is left."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here)
    told = await there.lease(NAME, ())
    await there.wait(NAME, told.holder, 0.01)
    task = await waiter(desk, there)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not there._waiting._events
    assert await here.renew(NAME, ours.token)


async def test_who_waits_goes_on_without_any_push(desk: Desk) -> None:
    """A user of Redis who may neither publish nor subscribe: looking now and then is enough."""
    mute = await desk.user("mute", "~*", "+@all", "resetchannels")
    here, there = desk.shelf(url=mute), desk.shelf(url=mute)
    ours = await grant(desk, here)
    waits = await waiter(desk, there)
    assert await here.fill(NAME, b"x", 60, (), ours.token) == (True, {})
    await waits


async def test_who_waits_goes_on_after_its_connection_was_cut(desk: Desk) -> None:
    """A push may have been lost with it."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here)
    waits = await waiter(desk, there)
    await desk.until(there._waiting._listening.done)
    await desk.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    assert await here.fill(NAME, b"x", 60, (), ours.token) == (True, {})
    await waits


HOLDER = """
import asyncio, sys
from tercet.cache.shelf.redis import RedisShelf
from tercet.clock import SystemClock
from tercet.telemetry import Telemetry
from tercet.wire import Wire

async def main():
    clock, telemetry = SystemClock(), Telemetry()
    wire = Wire.at(sys.argv[1], deadline=10, clock=clock, telemetry=telemetry)
    shelf = RedisShelf(wire, namespace="tercet", clock=clock, telemetry=telemetry)
    granted = await shelf.lease(sys.argv[2], ())
    print("held" if granted.token else "not held", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def holding(desk: Desk) -> asyncio.subprocess.Process:
    """Another process, which loads."""
    source = str(Path(tercet.__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, desk.url, NAME,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    return process


async def test_the_load_of_a_killed_process_is_taken_over_at_once(desk: Desk) -> None:
    """Its connection is gone with it: nobody waits for the lease to run out."""
    here = desk.shelf()
    process = await holding(desk)
    assert f"process {process.pid} " in (await here.holder(NAME) or "")
    waits = await waiter(desk, here)
    # A lease that would outlive the test: only its holder's death can end it.
    await desk.redis.persist(KEYS.lease(NAME))
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    await waits
    assert (await here.lease(NAME, ())).token is not None


async def test_without_leave_to_see_connections_a_dead_lease_runs_out(desk: Desk) -> None:
    """An ACL may forbid CLIENT: then the lease's own time decides."""
    blind = await desk.user("blind", "~*", "&*", "+@all", "-client|list")
    here, there = desk.shelf(), desk.shelf(url=blind)
    await grant(desk, here)
    waits = await waiter(desk, there)
    await desk.until(lambda: not there._waiting._may_ask)
    assert not waits.done()
    await desk.redis.pexpire(KEYS.lease(NAME), 10)
    await waits


async def test_a_renewal_moves_the_lease_to_the_connection_of_now(desk: Desk) -> None:
    """A holder whose connection was cut is alive, and is not taken for dead after it renewed."""
    here, there = desk.shelf(), desk.shelf()
    ours = await grant(desk, here)
    before = await desk.redis.hget(KEYS.lease(NAME), "client")
    await desk.redis.execute_command("CLIENT", "KILL", "ID", before)
    # What is on its way when the connection goes is an error, or still names the old one.
    while await desk.redis.hget(KEYS.lease(NAME), "client") == before:
        with suppress(StoreError):
            assert await here.renew(NAME, ours.token)
    told = await there.lease(NAME, ())
    assert not await there._waiting._is_over(NAME, told.holder)


async def test_a_drop_of_names_and_tags_takes_exactly_those(desk: Desk) -> None:
    """Whatever their number; the others stay."""
    here, there = desk.shelf(), desk.shelf()
    names = [f"k:{number}" for number in range(1_500)]
    for start in range(0, len(names), 100):
        await asyncio.gather(*(here.write(name, b"x", 60, ()) for name in names[start : start + 100]))
    before = await here.versions(["a", "b", "c"])
    await here.drop(Drop(names=tuple(names[:-1]), tags=("a", "b")))
    left, versions = await there.read(names, ["a", "b", "c"])
    assert left == [None] * (len(names) - 1) + [b"x"]
    assert versions == {"a": None, "b": None, "c": before["c"]}
    again = await there.versions(["a"])
    assert again["a"] not in (None, before["a"])


LONG = "users:" + "x" * 1_000

KEPT_BY = {
    "users:list:*": {"k:other:list:1", "k:users:one", "f:shop.users(i1)", "f:shop.users.all()", LONG},
    "users:*": {"k:other:list:1", "f:shop.users(i1)", "f:shop.users.all()"},
    "shop.users": {"k:other:list:1", "k:users:one", "k:users:list:1", "k:users:list:2", "f:shop.users.all()", LONG},
    "shop.users*": {"k:other:list:1", "k:users:one", "k:users:list:1", "k:users:list:2", LONG},
    "*:list:?": {"k:users:one", "f:shop.users(i1)", "f:shop.users.all()", LONG},
    "nothing*": {
        "k:other:list:1", "k:users:one", "k:users:list:1", "k:users:list:2", "f:shop.users(i1)", "f:shop.users.all()",
        LONG,
    },
    "*": set(),
}  # fmt: skip


@pytest.mark.parametrize("pattern", KEPT_BY)
async def test_a_pattern_takes_exactly_the_keys_and_functions_it_matches(desk: Desk, pattern: str) -> None:
    """Over direct keys and functions' names, whole keys of shortened names too; what is not ours is never touched."""
    shelf, neighbour = desk.shelf(), desk.shelf(namespace="tercet2")
    key = key_of("k", LONG)
    assert key.full
    names = [
        "k:users:list:1", "k:users:list:2", "k:users:one", "k:other:list:1", "f:shop.users(i1)", "f:shop.users.all()",
    ]  # fmt: skip
    for name in names:
        await shelf.write(name, desk.frame(), 60, ())
        await neighbour.write(name, desk.frame(), 60, ())
    await shelf.write(key.name, desk.frame(key=key.full), 60, ())
    foreign = {f"users:list:{number}": b"x" for number in range(200)}
    await desk.redis.mset(foreign)
    await shelf.drop(Drop(patterns=(pattern,)))
    found, _ = await shelf.read([*names, key.name], ())
    left = {name for name, frame in zip([*names, LONG], found, strict=True) if frame is not None}
    assert left == KEPT_BY[pattern]
    assert None not in (await neighbour.read(names, ()))[0]
    assert await desk.redis.exists(*foreign) == len(foreign)


async def test_clear_takes_all_of_ours_and_nothing_else(desk: Desk) -> None:
    """Neighbours with a name that begins alike, locks, and other people's keys stay; so does the bus."""
    shelf = desk.shelf()
    foreign = {
        **{f"app:{number}": b"x" for number in range(200)},
        "tercet": b"x", "tercet:lock:a": b"x", "tercet:1:e:a": b"x", "tercet:2": b"x", "tercet:2:x:a": b"x",
        "tercet2:2:e:{a}": b"x", "xtercet:2:e:{a}": b"x", "tercetx2:e:{a}": b"x",
    }  # fmt: skip
    await desk.redis.mset(foreign)
    for number in range(700):
        await desk.redis.set(KEYS.entry(f"k:{number}"), b"x")
    await shelf.versions([f"tag {number}" for number in range(600)])
    ours = await grant(desk, shelf)
    await shelf.drop(Drop(everything=True))
    assert set(await desk.redis.keys()) == {*(key.encode() for key in foreign), KEYS.bus}
    assert await shelf.fill(NAME, b"old", 60, (), ours.token) == (False, {})


async def test_a_drop_of_nothing_does_nothing(desk: Desk) -> None:
    """No message is sent for it either."""
    await desk.shelf().drop(Drop())
    assert await desk.redis.keys() == []


async def test_a_drop_that_is_not_certain_is_an_error(desk: Desk) -> None:
    """Who may not write to the bus has not dropped: others would not hear of it."""
    mute = await desk.user("mute", "~*", "&*", "+@all", "-xadd")
    with pytest.raises(StoreError):
        await desk.shelf(url=mute).drop(Drop(tags=("t",)))
