"""The flow over memory, shelf and loader: who is given what, when, and what is never given again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tercet.cache.entry import THROTTLE_SECONDS
from tercet.cache.shelf import TRUST_SECONDS, Drop
from tercet.cache.stats import stats_of
from tercet.errors import LoadTimeout, StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .conftest import Bench
else:
    Bench = Any


async def started(bench: Bench, **words: Any) -> asyncio.Task[Any]:
    """A caller whose load has begun and does not end."""
    bench.gate.clear()
    before = bench.loads
    caller = asyncio.ensure_future(bench.fetch(**words))
    while bench.loads == before:
        await asyncio.sleep(0)
    return caller


# ---- times ----


async def test_an_ended_value_is_loaded_again(each: Bench) -> None:
    """Without a word about staleness nothing old is shown."""
    assert await each.fetch() == 1
    each.value = 2
    each.clock.advance(99)
    assert await each.fetch() == 1
    each.clock.advance(1)
    assert (await each.fetch(), each.loads) == (2, 2)


async def test_a_stale_value_is_shown_while_one_caller_loads_it_anew(each: Bench) -> None:
    """Nobody waits, and one load serves all."""
    await each.fetch(stale=50)
    each.value = 2
    each.clock.advance(120)
    each.gate.clear()
    assert await asyncio.gather(*(each.fetch(stale=50) for _ in range(20))) == [1] * 20
    each.gate.set()
    await each.settled()
    assert (await each.fetch(stale=50), each.loads) == (2, 2)
    assert stats_of(each.tiers).stale_served == 20


async def test_a_value_past_its_stale_time_is_not_shown(each: Bench) -> None:
    """Spent is spent."""
    await each.fetch(stale=50)
    each.value = 2
    each.clock.advance(150)
    assert (await each.fetch(stale=50), each.loads) == (2, 2)


async def test_a_stale_value_stands_in_for_an_error(each: Bench) -> None:
    """The source may be away for as long as the policy says; it is asked once a second."""
    await each.fetch(stale=50)
    each.error = ValueError("away")
    each.clock.advance(120)
    for _ in range(3):
        assert await each.fetch(stale=50) == 1
        await each.settled()
    assert each.loads == 2
    each.clock.advance(THROTTLE_SECONDS)
    assert await each.fetch(stale=50) == 1
    await each.settled()
    assert each.loads == 3
    each.clock.advance(50)
    with pytest.raises(ValueError, match="away"):
        await each.fetch(stale=50)


async def test_a_drop_ends_staleness_too(each: Bench) -> None:
    """What was dropped is not stale but wrong: it is never shown again, not even instead of an error."""
    await each.fetch("a", "t", stale=50)
    await each.tiers.drop(Drop(tags=("t",)))
    each.error = ValueError("away")
    with pytest.raises(ValueError, match="away"):
        await each.fetch("a", "t", stale=50)


async def test_a_caller_waits_for_the_new_value_as_long_as_the_soft_timeout_says(each: Bench) -> None:
    """In time it is the new one; too late, the stale one, and the load goes on behind."""
    words: dict[str, Any] = {"stale": 50, "soft_timeout": 30}
    await each.fetch(**words)
    each.value = 2
    each.clock.advance(120)
    assert await each.fetch(**words) == 2
    each.value = 3
    each.clock.advance(120)
    each.gate.clear()
    assert await each.fetch(stale=50, soft_timeout=0.01) == 2
    each.gate.set()
    await each.settled()
    assert (await each.fetch(**words), each.loads) == (3, 3)


async def test_a_load_that_takes_too_long_is_an_error_and_is_kept_when_it_ends(each: Bench) -> None:
    """The caller is told, and the next one finds the value."""
    each.gate.clear()
    with pytest.raises(LoadTimeout) as caught:
        await each.fetch(hard_timeout=0.01)
    assert (caught.value.what, caught.value.limit, caught.value.retryable) == ("test", 0.01, True)
    each.gate.set()
    await each.settled()
    assert (await each.fetch(), each.loads) == (1, 1)


async def test_none_is_a_value_with_a_short_life(each: Bench) -> None:
    """A missing row is not asked for every time, and is found soon after it was made."""
    each.value = None
    assert await each.fetch(negative=5) is None
    assert (await each.fetch(negative=5), each.loads) == (None, 1)
    each.value = 2
    each.clock.advance(5)
    assert await each.fetch(negative=5) == 2


@pytest.mark.parametrize("value", [0, False, "", [], {}])
async def test_nothing_else_is_taken_for_missing(each: Bench, value: object) -> None:
    """Zero, false and empty live as long as others."""
    each.value = value
    await each.fetch(negative=5)
    each.clock.advance(99)
    assert (await each.fetch(negative=5), each.loads) == (value, 1)


async def test_a_value_that_took_long_is_loaded_anew_before_it_ends(each: Bench) -> None:
    """XFetch with an eager beta: it is still shown, and one load runs behind."""
    each.takes = 1.0
    await each.fetch(early=1e9)
    each.value = 2
    assert await each.fetch(early=1e9) == 1
    await each.settled()
    assert each.loads == 2
    assert stats_of(each.tiers).stale_served == 0


async def test_errors_are_not_kept_unless_it_was_said(each: Bench) -> None:
    """With a throttle the same error answers for its time; without, each caller tries."""
    each.error = ValueError("no")
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await each.fetch()
    assert each.loads == 2
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await each.fetch("b", throttle=5)
    assert each.loads == 3
    each.error = None
    each.clock.advance(5)
    assert await each.fetch("b", throttle=5) == 1


# ---- trust ----


async def test_memory_answers_by_itself_only_as_long_as_the_bus_is_heard(bench: Bench) -> None:
    """In silence it asks the shelf, after the time that it was told to trust."""
    shelf = bench.shelf
    assert shelf is not None
    await bench.fetch()
    reads = shelf.reads
    await bench.fetch()
    assert shelf.reads == reads
    shelf.trust(bench.clock.monotonic())
    await bench.fetch()
    assert shelf.reads == reads
    bench.clock.advance(TRUST_SECONDS)
    assert (await bench.fetch(), bench.loads) == (1, 1)
    assert shelf.reads == reads + 1


async def test_in_silence_a_drop_elsewhere_is_seen_within_the_bound(bench: Bench) -> None:
    """A process that hears nothing shows what was dropped for TRUST_SECONDS at most."""
    shelf, other = bench.shelf, bench.restarted()
    assert shelf is not None
    await bench.fetch()
    shelf.trust(bench.clock.monotonic())
    shelf.deaf = True
    await other.tiers.drop(Drop(names=("k:a",)))
    bench.value = 2
    bench.clock.advance(TRUST_SECONDS - 0.001)
    assert await bench.fetch() == 1
    bench.clock.advance(0.001)
    assert await bench.fetch() == 2


async def test_what_was_loaded_without_the_shelf_is_believed_no_longer_than_the_bound(bench: Bench) -> None:
    """Counted from the beginning of its load, as that is how old it may be."""
    shelf = bench.shelf
    assert shelf is not None
    shelf.away = True
    bench.tiers._enter()
    shelf.trust(0.0)
    bench.takes = TRUST_SECONDS / 2
    assert await bench.fetch() == 1
    bench.clock.advance(TRUST_SECONDS / 2 - 0.001)
    assert (await bench.fetch(), bench.loads) == (1, 1)
    bench.clock.advance(0.001)
    bench.value = 2
    assert await bench.fetch() == 2


async def test_a_gap_in_the_bus_forgets_everything(bench: Bench) -> None:
    """Also what is being loaded: it is handed on and not kept."""
    shelf = bench.shelf
    assert shelf is not None
    await bench.fetch("b")
    caller = await started(bench)
    hear, _ = next(iter(shelf.listeners.values()))
    hear(None)
    bench.gate.set()
    assert await caller == 1
    stats = stats_of(bench.tiers)
    assert (stats.entries, stats.late_fills_refused, stats.flushed) == (0, 1, 1)


async def test_the_last_known_value_stands_in_when_shelf_and_loader_are_both_away(bench: Bench) -> None:
    """Nobody can say that it is wrong, and the alternative is an error: which it is without a word about staleness."""
    shelf = bench.shelf
    assert shelf is not None
    await bench.fetch()
    shelf.away = True
    shelf.trust(0.0)
    bench.clock.advance(10)
    bench.error = ValueError("away")
    assert await bench.fetch(stale=50) == 1
    bench.tiers.loader.throttle.forget()
    with pytest.raises(ValueError, match="away"):
        await bench.fetch()


async def test_whoever_waits_for_a_load_that_fails_is_not_shown_what_was_dropped_elsewhere(bench: Bench) -> None:
    """He has not asked Redis, as the load was under way; so it is asked when that fails."""
    shelf = bench.shelf
    assert shelf is not None
    await bench.fetch(stale=50)
    shelf.deaf = True
    await bench.restarted().tiers.drop(Drop(names=("k:a",)))
    shelf.trust(0.0)
    bench.clock.advance(TRUST_SECONDS)
    bench.error = ValueError("away")
    first = await started(bench, stale=50)
    second = asyncio.ensure_future(bench.fetch(stale=50))
    while bench.tiers.counts.joined == 0:
        await asyncio.sleep(0)
    bench.gate.set()
    assert [type(one) for one in await asyncio.gather(first, second, return_exceptions=True)] == [ValueError] * 2


# ---- several processes ----


async def test_of_two_processes_one_loads_and_the_other_waits(bench: Bench) -> None:
    """By the lease; both get the value."""
    other = bench.restarted()
    first = await started(bench)
    second = asyncio.ensure_future(other.fetch())
    for _ in range(20):
        await asyncio.sleep(0)
    bench.gate.set()
    assert (await first, await second) == (1, 1)
    assert (bench.loads, other.loads) == (1, 0)


async def test_when_a_load_fails_the_next_process_tries(bench: Bench) -> None:
    """The lease is given back at once."""
    other = bench.restarted()
    bench.error = ValueError("no")
    first = await started(bench)
    second = asyncio.ensure_future(other.fetch())
    for _ in range(20):
        await asyncio.sleep(0)
    bench.gate.set()
    with pytest.raises(ValueError, match="no"):
        await first
    assert (await second, other.loads) == (1, 1)


@pytest.mark.parametrize(
    "drop", [Drop(names=("k:a",)), Drop(tags=("t",)), Drop(patterns=("a*",)), Drop(everything=True)]
)
@pytest.mark.parametrize("deaf", [False, True])
async def test_a_late_fill_is_refused_whatever_dropped_it(bench: Bench, drop: Drop, deaf: bool) -> None:
    """Also when the loading process has not heard of it."""
    shelf, other = bench.shelf, bench.restarted()
    assert shelf is not None
    bench.gate.clear()
    caller = asyncio.ensure_future(bench.fetch("a", "t"))
    while not bench.loads:
        await asyncio.sleep(0)
    shelf.deaf = deaf
    await other.tiers.drop(drop)
    bench.value = 2
    bench.gate.set()
    assert await caller == 1
    assert await other.fetch("a", "t") == 1
    assert (await bench.fetch("a", "t"), stats_of(bench.tiers).late_fills_refused) == (1, 1)
    assert other.loads == 1


async def test_a_stale_entry_is_loaded_anew_by_one_process(bench: Bench) -> None:
    """All show it meanwhile."""
    others = [bench.restarted() for _ in range(3)]
    await bench.fetch(stale=50)
    bench.clock.advance(120)
    assert [await one.fetch(stale=50) for one in (bench, *others)] == [1] * 4
    for one in (bench, *others):
        await one.settled()
    assert (bench.loads, [one.loads for one in others]) == (2, [0, 0, 0])


# ---- the shelf is away ----


async def test_a_drop_that_could_not_be_delivered_hides_what_the_shelf_has(bench: Bench) -> None:
    """It is kept and delivered, and meanwhile the shelf is not believed."""
    shelf = bench.shelf
    assert shelf is not None
    await bench.fetch("a", "t")
    shelf.mute = True
    assert await bench.tiers.drop(Drop(tags=("t",))) is False
    bench.value = 2
    assert await bench.fetch("a", "t") == 2
    assert (stats_of(bench.tiers).undelivered, "t" in shelf.tags) == (1, True)
    shelf.mute = False
    await bench.tiers.close()
    assert "t" not in shelf.tags


async def test_a_write_that_could_not_be_delivered_becomes_a_drop(bench: Bench) -> None:
    """The old value never comes back; the new one is shown here."""
    shelf = bench.shelf
    assert shelf is not None
    await bench.fetch()
    shelf.away = True
    assert await bench.tiers.put(bench.ask(), 5) is False
    assert (await bench.fetch(), bench.loads) == (5, 1)
    await bench.tiers.close()


async def test_reads_go_on_without_the_shelf(bench: Bench) -> None:
    """From memory while the bus is trusted, from the loader else."""
    shelf = bench.shelf
    assert shelf is not None
    await bench.fetch()
    shelf.away = True
    assert (await bench.fetch(), bench.loads) == (1, 1)
    assert (await bench.fetch("b"), bench.loads) == (1, 2)
    with pytest.raises(StoreUnreachable):
        await shelf.read_one("k:a")


# ---- many ----


async def many(bench: Bench, names: str, *, bulk: list[tuple[int, ...]] | None = None) -> list[Any]:
    """Ask for several at once; loaded one by one, or together."""

    async def one(number: int) -> str:
        bench.loads += 1
        return names[number].upper()

    async def together(numbers: Sequence[int]) -> Mapping[int, str]:
        assert bulk is not None
        bulk.append(tuple(numbers))
        return {number: names[number].upper() for number in numbers}

    asks = [bench.ask(name) for name in names]
    return await bench.tiers.straight.fetch_many(asks, one, together if bulk is not None else None)


async def test_many_are_read_at_once_and_only_what_is_missing_is_loaded(each: Bench) -> None:
    """In the order asked, each name once."""
    assert await many(each, "abc") == ["A", "B", "C"]
    each.tiers.memory.clear()
    reads = each.shelf.reads if each.shelf else 0
    assert await many(each, "cbaxa") == ["C", "B", "A", "X", "A"]
    if each.shelf:
        assert (each.shelf.reads, each.loads) == (reads + 1, 4)


async def test_a_loader_of_many_is_asked_once_for_all_that_is_missing(each: Bench) -> None:
    """And for nothing else."""
    asked: list[tuple[int, ...]] = []
    assert await many(each, "ab", bulk=asked) == ["A", "B"]
    assert await many(each, "abcd", bulk=asked) == ["A", "B", "C", "D"]
    assert asked == [(0, 1), (2, 3)]


async def test_many_have_the_last_known_values_when_shelf_and_loader_are_both_away(bench: Bench) -> None:
    """As one has: what `stale` allows stands in for an error."""
    shelf = bench.shelf
    assert shelf is not None
    asks = [bench.ask(name, stale=50) for name in "ab"]

    async def one(number: int) -> int:
        if shelf.away:
            raise ValueError("away")
        return number

    await bench.tiers.straight.fetch_many(asks, one)
    shelf.away = True
    shelf.trust(0.0)
    bench.clock.advance(10)
    assert await bench.tiers.straight.fetch_many(asks, one) == [0, 1]
    with pytest.raises(ValueError, match="away"):
        await bench.tiers.straight.fetch_many([bench.ask("a"), bench.ask("c")], one)
    assert await bench.found(*asks) == [None, None]


async def test_many_of_none_is_none(each: Bench) -> None:
    """Nothing is asked."""
    assert await many(each, "") == []
    assert each.loads == 0


async def test_an_error_of_one_is_the_error_of_all(each: Bench) -> None:
    """What the others have loaded is kept."""

    async def one(number: int) -> int:
        if number == 1:
            raise ValueError("no")
        return number

    with pytest.raises(ValueError, match="no"):
        await each.tiers.straight.fetch_many([each.ask(name) for name in "abc"], one)
    await each.settled()
    assert len(each.tiers.memory) == 2


async def test_what_a_loader_of_many_leaves_out_is_loaded_by_itself(each: Bench) -> None:
    """One by one."""

    async def one(number: int) -> int:
        return 10 * number

    async def together(numbers: Sequence[int]) -> Mapping[int, int]:
        return {numbers[0]: 1}

    assert await each.tiers.straight.fetch_many([each.ask(name) for name in "abc"], one, together) == [1, 10, 20]


async def test_an_error_of_a_loader_of_many_goes_to_all_that_it_was_to_load(each: Bench) -> None:
    """And nothing is kept."""

    async def one(number: int) -> int:
        raise AssertionError(number)

    async def together(numbers: Sequence[int]) -> Mapping[int, int]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await each.tiers.straight.fetch_many([each.ask(name) for name in "ab"], one, together)
    await each.settled()
    assert len(each.tiers.memory) == 0
