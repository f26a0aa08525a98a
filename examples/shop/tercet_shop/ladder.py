"""The climb: one question on five rungs, each timed, each with the same rows, each with its staleness measured."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Row, TextClause, text

from tercet import Cache, Tercet
from tercet.migrations import build_index, drop_index, vacuum
from tercet.proof import Ladder, Rung, Sample, compare, describe_machine, sample
from tercet.rollups import create_summary, create_view, drop_summary, refresh_view
from tercet.units import duration, seconds
from tercet_shop.advised import Advised, advised, forget, plain
from tercet_shop.question import AS_WRITTEN, Spender
from tercet_shop.rungs import (
    ACTIVE_USERS,
    FROM_TOTALS,
    FROM_VIEW,
    ORDERS_OF_A_USER,
    REWRITTEN,
    SPENDERS,
    TOTALS,
)

if TYPE_CHECKING:
    from tercet.sql import Index
    from tercet_shop.port import Progress

Rows = Iterable[object]
Question = Callable[[], Awaitable[Rows]]

# A measurement must not be of something else because the machine was busy for a moment.
PATIENT = "5s"

# How long another process may answer from its own memory before it asks Redis; the bound that the ladder shows.
ELSEWHERE_MEMORY = "1s"

# Medians of a few repetitions: one write more or less must not decide the figure.
_STALENESS_TIMES = 5

# The keys of the orders that the measuring of staleness adds and takes away again; a killed run's are found by them.
_FIRST_KEY = UUID("1adde700-0000-4000-8000-000000000000")
_LAST_KEY = UUID("1adde700-0000-4000-8000-ffffffffffff")

# The advisor's road is told to be slower than the one by hand from here on: below lies what two runs differ by.
SLOWER_TOLD = 1.1

_TAG = "orders"

TITLE = "The 100 biggest spenders, climbed rung by rung"


@dataclass(frozen=True, slots=True)
class Effort:
    """How often a rung is asked: `times` measurements of `batch` calls, within `budget`."""

    times: int
    budget: str
    batch: int = 1


# Slow rungs few times, quick ones often; the last takes less than a microsecond and is timed by the thousand.
_EFFORTS = (
    Effort(9, "30s"),
    Effort(21, "15s"),
    Effort(300, "10s"),
    Effort(1000, "10s"),
    Effort(300, "10s", 1000),
)


@dataclass(frozen=True, slots=True)
class Climbed:
    """The ladder, and what a person is told of the advice that it was climbed on."""

    ladder: Ladder
    told: tuple[str, ...]


async def climb(db: Tercet, *, since: datetime, data: Mapping[str, int | str], progress: Progress) -> Climbed:
    """Climb the ladder on a filled shop and return it, proved: ProofFailed when a rung's rows are others.

    The first two rungs above the query as written are the advisor's own, each beside the road that is declared for it
    by hand, which has to give the same rows. Starts by taking away what an earlier climb has built, so that rung 0 is
    the shop as it comes.
    """
    climber = _Climber(db, since, progress)
    await climber.descend()
    rungs = [await climber.as_written()]
    road = await advised(db, since, progress)
    rungs += [await climber.indexes(road), await climber.summary(road)]
    rungs += [await climber.redis(), await climber.memory()]
    machine = describe_machine(await versions(db))
    found = {**data, **climber.beside}
    ladder = Ladder(tuple(rungs), machine, found, at=datetime.now(UTC), title=TITLE).required()
    return Climbed(ladder, (*road.lines, *climber.told))


async def versions(db: Tercet) -> tuple[str, ...]:
    """The servers as a person would name them."""
    async with db.postgres.connection() as connection:
        postgres = str((await connection.execute(text("show server_version"))).scalar_one())
    mongo = (await db.mongo.client.server_info())["version"]
    info = await db.redis.info("server")
    redis = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    return (f"PostgreSQL {postgres.partition(' ')[0]}", f"mongod {mongo}", redis)


class _Climber:
    def __init__(self, db: Tercet, since: datetime, progress: Progress) -> None:
        self._db = db
        self._since = since
        self._progress = progress
        # One statement needs no transaction around it, on any rung.
        self._reader = db.postgres.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writes = 0
        # What was measured beside the rungs, for the line of the data; and what a person is told of it.
        self.beside: dict[str, int | str] = {}
        self.told: list[str] = []
        # Redis alone, this process with Redis behind it, and what another process would have.
        self._redis = Cache(db, ttl="1h", memory=0, namespace="ladder", deadline=PATIENT)
        self._here = Cache(db, ttl="1h", memory="1h", namespace="ladder", deadline=PATIENT)
        self._elsewhere = Cache(db, ttl="1h", memory=ELSEWHERE_MEMORY, namespace="ladder", deadline=PATIENT)

    async def descend(self) -> None:
        """Take away indexes, view and summary of an earlier climb, and the orders that a killed one left."""
        await drop_summary(self._db.postgres, TOTALS)
        await forget(self._db)
        await self._unwrite()
        # What autovacuum does soon after a load: rung 0 is the shop as it is found on any other day.
        for table in ("users", "orders"):
            await self._timed(f"0 vacuum {table}", vacuum(self._db.postgres, table))

    async def as_written(self) -> Rung:
        taken = await self._sample("0 as written", _EFFORTS[0], self._sql(AS_WRITTEN))
        return Rung.of(0, "as written", taken, stale=await self._never(self._sql(AS_WRITTEN)))

    async def indexes(self, road: Advised) -> Rung:
        await self._build(road.indexes, "1 index")
        asked = self._text(road.rewritten) if road.rewritten else self._sql(AS_WRITTEN)
        taken = await self._sample("1 indexes and rewrite", _EFFORTS[1], asked)
        never = await self._never(asked)
        for index in road.indexes:
            await drop_index(self._db.postgres, index)
        declared = (ACTIVE_USERS, ORDERS_OF_A_USER)
        await self._build(declared, "1 by hand, index")
        by_hand = await self._sample("1 by hand", _EFFORTS[1], self._sql(REWRITTEN))
        self._against(1, taken, by_hand)
        return Rung.of(1, "indexes and rewrite", taken, stale=never)

    async def summary(self, road: Advised) -> Rung:
        postgres = self._db.postgres
        await self._timed("2 view by hand", create_view(postgres, SPENDERS))
        view, asked = SPENDERS, self._sql(FROM_VIEW)
        taken = by_hand = await self._sample("2 by hand", _EFFORTS[2], asked)
        if road.view is not None and road.from_view is not None:
            view, asked = road.view, self._text(road.from_view)
            await self._timed("2 materialized view", create_view(postgres, view))
            taken = await self._sample("2 materialized summary", _EFFORTS[2], asked)
            self._against(2, taken, by_hand)
        else:
            self.told.append("Rung 2 is the road by hand: no view was advised.")
        old = await self._stale(asked, after=lambda: refresh_view(postgres, view), part="2 refresh", times=1)
        await self._timed("2 summary kept by triggers", create_summary(postgres, TOTALS))
        kept = await self._sample("2 kept by triggers", _EFFORTS[2], self._sql(FROM_TOTALS))
        compare(taken, kept).required(at_least=0)
        self.beside["summary kept by triggers read in"] = duration(kept.median)
        never = await self._never(self._sql(FROM_TOTALS))
        stale = f"until refreshed: {duration(old)} / by triggers: {never}"
        return Rung.of(2, "materialized summary", taken, stale=stale, stale_seconds=old)

    async def redis(self) -> Rung:
        question = self._cached(self._redis)
        taken = await self._sample("3 Redis", _EFFORTS[3], question)
        old = await self._stale(question, after=self._drop, part="3 staleness")
        return Rung.of(3, "Redis", taken, stale=duration(old), stale_seconds=old)

    async def memory(self) -> Rung:
        question = self._cached(self._here)
        taken = await self._sample("4 this process", _EFFORTS[4], question)
        old = await self._stale(question, after=self._drop, part="4 staleness")
        elsewhere = self._cached(self._elsewhere)
        other = await self._stale(elsewhere, after=self._drop, part="4 staleness elsewhere")
        bound = duration(seconds(ELSEWHERE_MEMORY))
        stale = f"{duration(old)}; in another process {duration(other)} (bound {bound})"
        return Rung.of(4, "this process", taken, stale=stale, stale_seconds=old)

    async def _build(self, indexes: Sequence[Index], what: str) -> None:
        for index in indexes:
            part = f"{what} on {plain(index.table)}"
            await build_index(self._db.postgres, index, on_progress=self._reporter(part))
            await vacuum(self._db.postgres, index.qualified_table)
            self._progress(part, 1, 1)

    def _against(self, rung: int, taken: Sample[Rows], by_hand: Sample[Rows]) -> None:
        """Hold the advisor's rung against the one declared by hand: ProofFailed where the rows are others."""
        verdict = compare(by_hand, taken).required(at_least=0)
        self.beside[f"rung {rung} by hand"] = duration(by_hand.median)
        slower = 1 / verdict.ratio
        said = "as quick as" if slower <= SLOWER_TOLD else f"{slower:.1f} times slower than"
        hand = duration(by_hand.median)
        self.told.append(f"Rung {rung}, the advisor's: {duration(taken.median)}, {said} by hand ({hand}), same rows")

    def _text(self, statement: str) -> Question:
        """A statement with its values written out, as the advisor writes it."""

        async def rows() -> Rows:
            async with self._reader.connect() as connection:
                return (await connection.exec_driver_sql(statement)).all()

        return rows

    def _sql(self, statement: str) -> Question:
        asked = text(statement)
        return lambda: self._rows(asked, self._since)

    async def _rows(self, asked: TextClause, since: datetime) -> Sequence[Row[Any]]:
        async with self._reader.connect() as connection:
            return (await connection.execute(asked, {"since": since})).all()

    def _cached(self, cache: Cache) -> Question:
        asked = text(FROM_TOTALS)

        @cache(tags=[_TAG])
        async def spenders(since: datetime) -> tuple[Spender, ...]:
            rows = await self._rows(asked, since)
            return tuple(Spender(r.user_id, r.name, r.email, r.order_count, r.total_spent) for r in rows)

        return lambda: spenders(self._since)

    async def _drop(self) -> None:
        await self._here.drop_tags(_TAG)

    async def _sample(self, part: str, effort: Effort, question: Question) -> Sample[Rows]:
        done = 0

        async def counted() -> Rows:
            nonlocal done
            answer = await question()
            done += 1
            self._progress(part, done, effort.times + 1)
            return answer

        # A bar is drawn for what takes long; the quick rungs are measured without anything around them.
        asked = counted if effort.times < _EFFORTS[2].times else question
        self._progress(part, 0, effort.times + 1)
        taken = await sample(asked, times=effort.times, budget=effort.budget, batch=effort.batch, same=True)
        self._progress(part, 1, 1)
        return taken

    async def _timed(self, part: str, work: Awaitable[object]) -> None:
        self._progress(part, 0, 0)
        await work
        self._progress(part, 1, 1)

    def _reporter(self, part: str) -> Callable[[int, int], None]:
        self._progress(part, 0, 0)
        return lambda done, total: self._progress(part, done, total)

    async def _never(self, question: Question) -> str:
        """Check by a write that the first look after a commit shows it."""
        seen, _ = await self._stale_once(question, None)
        await self._unwrite()
        return "seen old" if seen else "never"

    async def _stale(
        self,
        question: Question,
        *,
        after: Callable[[], Awaitable[object]],
        part: str,
        times: int = _STALENESS_TIMES,
    ) -> float:
        """Seconds from a committed write to the first new answer: how long this rung can show the old one.

        A write is committed that changes the answer, and `after` does what the writer does then; meanwhile a
        reader asks again and again. The median of a few times.
        """
        found = []
        for turn in range(times):
            self._progress(part, turn, times)
            found.append((await self._stale_once(question, after))[1])
        self._progress(part, times, times)
        await self._unwrite()
        await self._drop()
        return statistics.median(found)

    async def _stale_once(
        self, question: Question, after: Callable[[], Awaitable[object]] | None
    ) -> tuple[bool, float]:
        """Whether an old answer was seen after the commit, and seconds until the first new one was there."""
        before = list(await question())
        await self._write(before[0])
        committed = time.perf_counter()
        told = asyncio.ensure_future(after()) if after else None
        looks = 1
        while list(await question()) == before:
            looks += 1
            if told and told.done() and told.exception():
                break
            await asyncio.sleep(0)
        elapsed = time.perf_counter() - committed
        if told:
            await told
        return looks > 1, elapsed

    async def _write(self, first: object) -> None:
        """Commit an order that changes the first of the hundred."""
        self._writes += 1
        user_id: int = getattr(first, "user_id")  # noqa: B009 - a SQL row on some rungs, a Spender on others
        async with self._db.postgres.transaction() as connection:
            await connection.execute(_ORDER, {"user_id": user_id, "key": UUID(int=_FIRST_KEY.int + self._writes)})

    async def _unwrite(self) -> None:
        async with self._db.postgres.transaction() as connection:
            await connection.execute(_NO_ORDERS, {"first": _FIRST_KEY, "last": _LAST_KEY})


_ORDER = text("""
insert into orders (user_id, status, currency, country, total, idempotency_key)
select id, 'paid', 'GBP', country, 1.00, :key from users where id = :user_id
""")
_NO_ORDERS = text("delete from orders where idempotency_key between :first and :last")
