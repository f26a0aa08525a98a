"""What a cache does, in memory only and with Redis behind it: one suite, run on both."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from tercet.cache import Cache, Found
from tercet.cache.encoding.codec import same
from tercet.clock import StoppedClock
from tercet.errors import Uncacheable, Unkeyable, UsageError
from tercet.telemetry import CacheNoted, CacheRead, Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tercet.telemetry.event import Event

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE = "5s"


class Profile(msgspec.Struct, frozen=True):
    """What a user's service would return."""

    user_id: int
    name: str
    balance: Decimal
    since: datetime
    token: UUID


class Renamed(msgspec.Struct, frozen=True):
    """The same after a release that renamed a field."""

    user_id: int
    label: str


@dataclass
class Basket:
    """Something that callers can change."""

    items: list[dict[str, int]] = field(default_factory=list)


@dataclass
class Bench:
    """A cache to test, its clock, and what it tells."""

    cache: Cache
    clock: StoppedClock
    telemetry: Telemetry
    shared: bool

    async def pass_time(self, seconds: float) -> None:
        """Time goes on, and the bus is heard at the new hour."""
        self.clock.advance(seconds)
        while not self.cache.stats().trusted:
            await asyncio.sleep(0.01)

    def forget(self) -> None:
        """Where there is a Redis, forget what this process has, so that the next read comes from there."""
        if self.shared:
            self.cache.clear_memory()


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A cache of each kind, empty."""
    shared = request.param == "redis"
    source = request.getfixturevalue("redis_url") if shared else None
    clock, telemetry = StoppedClock(datetime.now(UTC)), Telemetry()
    async with Cache(
        source, ttl="1m", memory="10s", jitter=0, deadline=DEADLINE, clock=clock, telemetry=telemetry
    ) as cache:
        yield Bench(cache, clock, telemetry, shared)


@pytest.fixture
def cache(bench: Bench) -> Cache:
    """The cache alone."""
    return bench.cache


class Source:
    """Where values come from: counts, waits and fails as a test wants it."""

    def __init__(self, *values: object) -> None:
        self.values = list(values) or [1]
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self) -> Any:
        """The next value, the last one for ever, as it was when the load began."""
        self.loads += 1
        value = self.values[min(self.loads, len(self.values)) - 1]
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return value

    async def begun(self, loads: int = 1) -> None:
        """Wait until so many loads have begun."""
        while self.loads < loads:
            await asyncio.sleep(0.001)


PROFILE = Profile(1, "Kim", Decimal("1.50"), datetime(2024, 1, 1, tzinfo=UTC), UUID(int=7))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Profile, PROFILE),
        (list[Profile], [PROFILE, PROFILE]),
        (tuple[Profile, ...], (PROFILE,)),
        (Profile | None, None),
        (int, 0),
        (bool, False),
        (list[int], []),
        (dict[str, Decimal], {"a": Decimal("0.10")}),
        (Basket, Basket([{"a": 1}])),
        (str, "\x00é\U0001f600"),
    ],
)
async def test_later_callers_get_what_the_first_one_got(bench: Bench, kind: object, value: object) -> None:
    """The same type all the way down, from one load; None, 0, False and [] are values like others."""
    source = Source(value)

    @bench.cache(type=kind)
    async def load(key: int) -> Any:
        return await source()

    first = await load(1)
    bench.forget()
    from_far = await load(1)
    from_memory = await load(1)
    assert [same(one, value) for one in (first, from_far, from_memory)] == [True] * 3
    assert source.loads == 1


async def test_two_hundred_callers_make_one_load(cache: Cache) -> None:
    """All at once, on a cold key."""
    source = Source(7)
    source.gate.clear()

    @cache
    async def load(key: int) -> int:
        return int(await source())

    callers = [asyncio.create_task(load(1)) for _ in range(200)]
    await source.begun()
    source.gate.set()
    assert await asyncio.gather(*callers) == [7] * 200
    assert source.loads == 1


async def test_a_first_caller_who_is_cancelled_hurts_nobody(cache: Cache) -> None:
    """The load is not theirs."""
    source = Source(7)
    source.gate.clear()

    @cache
    async def load(key: int) -> int:
        return int(await source())

    callers = [asyncio.create_task(load(1)) for _ in range(10)]
    await source.begun()
    callers[0].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [7] * 9
    assert source.loads == 1


async def test_when_every_caller_is_cancelled_the_load_still_fills(cache: Cache) -> None:
    """Whoever gave up will often ask again."""
    source = Source(7)
    source.gate.clear()

    @cache
    async def load(key: int) -> int:
        return int(await source())

    callers = [asyncio.create_task(load(1)) for _ in range(3)]
    await source.begun()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    source.gate.set()
    while await load.peek(1) is None:
        await asyncio.sleep(0.001)
    assert (await load(1), source.loads) == (7, 1)


async def test_an_error_goes_to_all_who_wait_and_is_not_kept(cache: Cache) -> None:
    """One load, one exception for each, and the next call tries again."""
    source = Source(7)
    source.gate.clear()
    source.error = LookupError("no such user")

    @cache
    async def load(key: int) -> int:
        return int(await source())

    callers = [asyncio.create_task(load(1)) for _ in range(20)]
    await source.begun()
    source.gate.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert {(type(error), str(error)) for error in errors} == {(LookupError, "no such user")}
    assert len({id(error) for error in errors}) == 20
    assert source.loads == 1
    source.error = None
    assert (await load(1), source.loads) == (7, 2)


@pytest.mark.parametrize("by", ["key", "tag", "set", "refresh"])
async def test_a_late_fill_of_an_old_value_is_refused(bench: Bench, by: str) -> None:
    """Dropped, written or refreshed while it was loaded, it goes to those who waited and is not kept."""
    source = Source("old", "new")
    source.gate.clear()

    async def ask() -> object:
        return await bench.cache.get_or_load("k", source, str, tags=["user:1"])

    caller = asyncio.create_task(ask())
    await source.begun()
    match by:
        case "key":
            await bench.cache.drop("k")
        case "tag":
            await bench.cache.drop_tags("user:1")
        case "set":
            await bench.cache.set("k", "new", type=str, tags=["user:1"])
        case "refresh":
            refreshing = asyncio.create_task(_again(bench.cache, source))
            await source.begun(2)
    source.gate.set()
    assert await caller == "old"
    if by == "refresh":
        assert await refreshing == "new"
    await asyncio.sleep(0.02)
    for _ in range(2):
        assert await ask() == "new"
        bench.forget()


async def _again(cache: Cache, source: Source) -> object:
    """What `refresh` of a decorated function does, for a key of one's own."""
    return await cache._tiers.fetch(cache._ask("k", str, tags=["user:1"]), source, anew=True)


async def test_a_call_after_a_drop_does_not_join_a_load_from_before(cache: Cache) -> None:
    """It may read what was dropped."""
    source = Source("old", "new")
    source.gate.clear()

    @cache(tags=["user:{user_id}"])
    async def name(user_id: int) -> str:
        return str(await source())

    before = asyncio.create_task(name(1))
    await source.begun()
    await cache.drop_tags("user:1")
    after = asyncio.create_task(name(1))
    await source.begun(2)
    source.gate.set()
    assert (await before, await after) == ("old", "new")


async def test_another_shape_of_the_type_is_a_miss(bench: Bench) -> None:
    """A release with a renamed field loads anew instead of failing."""
    await bench.cache.set("k", Renamed(1, "Kim"))
    for _ in range(2):
        assert await bench.cache.get("k", Renamed) == Renamed(1, "Kim")
        assert await bench.cache.get("k", Profile) is None
        bench.forget()


@pytest.mark.parametrize("kind", [Basket, list[Basket], dict[str, Basket], Any])
async def test_what_a_caller_does_to_a_value_stays_with_that_caller(bench: Bench, kind: object) -> None:
    """Every caller has its own, however deep it is changed."""
    basket: Any = Basket([{"a": 1}])
    values: dict[Any, Any] = {
        Basket: basket,
        list[Basket]: [basket],
        dict[str, Basket]: {"x": basket},
        Any: {"x": [{"a": 1}]},
    }
    source = Source(values[kind])
    source.gate.clear()

    @bench.cache(type=kind)
    async def load(key: int) -> Any:
        return await source()

    callers = [asyncio.create_task(load(1)) for _ in range(3)]
    await source.begun()
    source.gate.set()
    first, second, third = await asyncio.gather(*callers)
    untouched = msgspec.msgpack.encode(third)
    for one in (first, second):
        _spoil(one)
    for _ in range(2):
        again = await load(1)
        assert msgspec.msgpack.encode(again) == untouched
        _spoil(again)
        bench.forget()
    assert msgspec.msgpack.encode(third) == untouched


def _spoil(value: Any) -> None:
    """Change everything that can be changed."""
    match value:
        case list():
            for one in value:
                _spoil(one)
            value.append("spoilt")
        case dict():
            for one in value.values():
                _spoil(one)
            value["spoilt"] = True
        case Basket():
            _spoil(value.items)


async def test_an_entry_ends_at_its_time(bench: Bench) -> None:
    """In memory by the clock that was handed in; Redis has its own, which other tests look at."""
    source = Source("a", "b")

    @bench.cache(ttl="60s")
    async def load(key: int) -> str:
        return str(await source())

    lives = 10.0 if bench.shared else 60.0
    await load(1)
    await bench.pass_time(lives - 0.001)
    assert await load.peek(1) == Found("a", "memory")
    bench.clock.advance(0.001)
    assert await load.peek(1) == (Found("a", "redis") if bench.shared else None)


async def test_different_calls_have_different_entries(cache: Cache) -> None:
    """What looks alike is not alike: each of these is its own call."""
    loads = 0

    @cache
    async def echo(a: Any, b: Any = None) -> list[str]:
        nonlocal loads
        loads += 1
        return [repr(a), repr(b)]

    calls: list[tuple[Any, ...]] = [
        ("a:b",), ("a", "b"), ("a,b",), (1,), ("1",), (True,), (1.0,), (None,), ("None",), (b"1",),
        (("a",), "b"), ("a", ("b",)), (Decimal("1.0"),), (Decimal("1.00"),), ("x" * 500,), ("x" * 501,),
    ]  # fmt: skip
    for _ in range(2):
        for call in calls:
            assert await echo(*call) == [repr(call[0]), repr(call[1] if len(call) > 1 else None)]
    assert loads == len(calls)


async def test_one_call_is_one_entry_however_it_is_written(cache: Cache) -> None:
    """By position, by name, with and without the default; also to drop it."""
    source = Source(1)

    @cache(tags=["u:{user_id}"])
    async def load(user_id: int, *, full: bool = False) -> int:
        return int(await source())

    assert [await load(1), await load(user_id=1), await load(1, full=False)] == [1, 1, 1]
    assert source.loads == 1
    await load.drop(full=False, user_id=1)
    assert await load.peek(1) is None


async def test_peek_never_loads_and_tells_none_from_nothing(bench: Bench) -> None:
    """It says where it found the value."""
    source = Source(None)

    @bench.cache
    async def load(key: int) -> Profile | None:
        await source()
        return None

    assert await load.peek(1) is None
    assert source.loads == 0
    await load(1)
    assert await load.peek(1) == Found(None, "memory")
    if bench.shared:
        bench.forget()
        assert await load.peek(1) == Found(None, "redis")


async def test_refresh_loads_anew_for_everybody(bench: Bench) -> None:
    """Also from Redis."""
    source = Source("a", "b")

    @bench.cache
    async def load(key: int) -> str:
        return str(await source())

    assert [await load(1), await load.refresh(1), await load(1)] == ["a", "b", "b"]
    bench.forget()
    assert await load(1) == "b"


async def test_values_under_keys_of_one_s_own(bench: Bench) -> None:
    """set, get, peek, get_many, get_or_load, drop."""
    cache, source = bench.cache, Source([PROFILE])
    await cache.set("a", PROFILE, layer="hot")
    await cache.set("b", [PROFILE], type=list[Profile], tags=["users"])
    await cache.set("plain", {"x": [1, None]})
    for _ in range(2):
        assert await cache.get("a", Profile) == PROFILE
        assert await cache.get("b", list[Profile]) == [PROFILE]
        assert await cache.get("plain") == {"x": [1, None]}
        assert await cache.get("plain", dict[str, list[int | None]]) == {"x": [1, None]}
        assert await cache.get("missing", Profile) is None
        assert await cache.get_many(["b", "missing", "b"], list[Profile]) == {"b": [PROFILE]}
        assert await cache.get_or_load("c", source, list[Profile]) == [PROFILE]
        bench.forget()
    assert source.loads == 1
    await cache.drop("a", "c")
    await cache.drop_tags("users")
    assert [await cache.get(key) for key in ("a", "b", "c")] == [None] * 3


async def test_a_value_without_a_type_must_be_plain(cache: Cache) -> None:
    """The second caller would get a text instead of a Decimal: an error that says so."""

    @cache
    async def load(key: int):  # type: ignore[no-untyped-def]  # it is the fault under test
        return {"price": Decimal("1.5")}

    with pytest.raises(Uncacheable, match="return annotation"):
        await load(1)
    with pytest.raises(Uncacheable):
        await cache.set("k", [PROFILE])


async def test_a_value_that_is_not_what_was_declared_is_handed_on_and_not_kept(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    """The load was paid for; the log says what is wrong."""
    source = Source("not a number")

    @cache
    async def load(key: int) -> int:
        value: int = await source()
        return value

    assert [str(await load(1)) for _ in range(2)] == ["not a number"] * 2
    assert source.loads == 2
    assert "did not return what it declares" in caplog.text


async def test_an_argument_without_a_key_is_an_error_before_anything_runs(cache: Cache) -> None:
    """It names the parameter."""
    source = Source()

    @cache
    async def load(ids: Any) -> int:
        return int(await source())

    with pytest.raises(Unkeyable, match="'ids'"):
        await load([1, 2])
    assert source.loads == 0
    assert await load((1, 2)) == 1


async def test_a_drop_of_a_tag_takes_all_of_it_and_nothing_else(bench: Bench) -> None:
    """Members of other functions too."""
    loads: list[tuple[str, int]] = []

    @bench.cache(tags=["user:{user_id}", "users"])
    async def name(user_id: int) -> str:
        loads.append(("name", user_id))
        return f"name {user_id}"

    @bench.cache(tags=["user:{user_id}"])
    async def orders(user_id: int) -> int:
        loads.append(("orders", user_id))
        return user_id

    async def all_of() -> list[tuple[str, int]]:
        loads.clear()
        bench.forget()
        for user_id in (1, 2):
            await name(user_id)
            await orders(user_id)
        return list(loads)

    assert len(await all_of()) == 4
    await bench.cache.drop_tags("user:1")
    assert await all_of() == [("name", 1), ("orders", 1)]
    await bench.cache.drop_tags("users", "nobody")
    assert await all_of() == [("name", 1), ("name", 2)]
    assert await all_of() == []


async def test_who_listens_is_told_where_values_came_from(bench: Bench) -> None:
    """One event a read; nobody who listens, no events made."""
    heard: list[Event] = []
    source = Source(1)

    @bench.cache(name="load")
    async def load(key: int) -> int:
        return int(await source())

    end = bench.telemetry.listen(heard.append)
    await load(1)
    await load(1)
    bench.forget()
    await load(1)
    source.error = LookupError()
    with pytest.raises(LookupError):
        await load(2)
    end()
    await load(1)
    told = [(event.cache, event.tier, event.outcome) for event in heard if isinstance(event, CacheRead)]
    third = "redis" if bench.shared else "memory"
    assert told == [
        ("load", "loader", "ok"),
        ("load", "memory", "ok"),
        ("load", third, "ok"),
        ("load", "loader", "failed"),
    ]


async def test_a_late_fill_that_was_refused_is_told(bench: Bench) -> None:
    """How often it happens is how many old values were not served."""
    heard: list[Event] = []
    source = Source(1)
    source.gate.clear()
    caller = asyncio.create_task(bench.cache.get_or_load("k", source, int))
    await source.begun()
    bench.telemetry.listen(heard.append)
    await bench.cache.drop("k")
    source.gate.set()
    await caller
    assert [event for event in heard if isinstance(event, CacheNoted)] == [CacheNoted("late fill refused", "direct")]


async def test_a_function_that_cannot_be_cached_is_an_error_where_it_stands(cache: Cache) -> None:
    """A plain function, a type of somebody else's, an annotation that does not exist."""

    class Row: ...

    async def row(key: int) -> Row:
        return Row()

    async def missing(key: int) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821 - the fault under test
        return 0

    def plain(key: int) -> int:
        return key

    with pytest.raises(Uncacheable, match="Row"):
        cache(type=Row)(row)
    with pytest.raises(Uncacheable, match="type="):
        cache(missing)
    with pytest.raises(UsageError, match="async def"):
        cache(plain)  # type: ignore[arg-type]  # it is the fault under test


async def test_two_functions_of_one_name_do_not_share_entries_by_accident(cache: Cache) -> None:
    """What a factory makes differs by what it encloses, which is in no key."""

    def make(number: int) -> Callable[[], Awaitable[int]]:
        @cache
        async def load() -> int:
            return number

        return load

    kept = make(1)
    with pytest.raises(UsageError, match="name="):
        make(2)
    assert await kept() == 1


async def test_a_cached_function_looks_like_the_function(cache: Cache) -> None:
    """Its name, its words, its errors, and a key that people can read."""

    @cache(name="shop.load", version=2)
    async def load(user_id: int) -> int:
        """The words."""
        return user_id

    assert (getattr(load, "__name__", ""), load.__doc__, repr(load)) == (
        "load",
        "The words.",
        "<cached shop.load@2>",
    )
    assert load.key(42) == "f:shop.load@2(i42)"
    with pytest.raises(TypeError, match="unexpected keyword"):
        await load(uid=1)  # type: ignore[call-arg]  # it is the fault under test
    assert asyncio.iscoroutinefunction(load.__call__)


async def test_no_read_after_a_drop_is_older_than_the_drop(bench: Bench) -> None:
    """Readers, writers, slow loads and cancelled callers at once: what was acknowledged is what is seen."""
    chance = random.Random(7)
    truth = dict.fromkeys(range(4), 0)
    acknowledged = dict.fromkeys(range(4), 0)
    reads = 0

    @bench.cache(tags=["row:{row}"], ttl="5m")
    async def value(row: int) -> int:
        now = truth[row]
        await asyncio.sleep(chance.choice((0, 0, 0.001, 0.004)))
        return now

    @bench.cache(ttl="5m")
    async def untagged(row: int) -> int:
        now = truth[row]
        await asyncio.sleep(chance.choice((0, 0.002)))
        return now

    async def write(turns: int) -> None:
        for _ in range(turns):
            row = chance.randrange(4)
            truth[row] += 1
            written = truth[row]
            await bench.cache.drop_tags(f"row:{row}")
            await untagged.drop(row)
            acknowledged[row] = max(acknowledged[row], written)
            await asyncio.sleep(chance.choice((0, 0.003)))

    async def read(turns: int) -> None:
        nonlocal reads
        for _ in range(turns):
            row = chance.randrange(4)
            least = acknowledged[row]
            function = chance.choice((value, untagged))
            if chance.random() < 0.1:
                bench.forget()
            try:
                seen = await asyncio.wait_for(function(row), chance.choice((5, 5, 5, 0.0005)))
            except TimeoutError:
                continue
            assert least <= seen <= truth[row]
            reads += 1
            await asyncio.sleep(0)

    await asyncio.gather(*(write(60) for _ in range(3)), *(read(100) for _ in range(20)))
    assert reads > 1_000
