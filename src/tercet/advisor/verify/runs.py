"""One statement run once, in one of several ways, leaving nothing behind."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import sqlstate, timed_out, words
from tercet.advisor.sandbox.undone import undone
from tercet.advisor.verify.answer import Answer
from tercet.sql import Plan, identifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tercet.advisor.verify.port import Place
    from tercet.sql.port import Connection

# Nobody's lock is waited for where others work.
_LOCK_MS = 1_000
# And nobody waits for us when we have died in the middle.
_IDLE_MS = 60_000
# Rows that are fetched at once.
_FETCH = 5_000
_NANOSECONDS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking: the text, which indexes the planner must not see (oids), and the search path.

    What writes has those indexes dropped instead, so that nobody maintains them.
    """

    sql: str
    hidden: frozenset[int] = frozenset()
    search_path: tuple[str, ...] = ()
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One run; `plan` has no times of its steps, which would cost more than many a step."""

    ms: float
    plan: Plan
    cpu_ms: float | None

    @property
    def pages(self) -> int | None:
        """Pages touched, wherever they were found."""
        return self.plan.root.buffers.touched if self.plan.root.buffers is not None else None


@dataclass(frozen=True, slots=True)
class Stopped:
    """It did not come to an end: it had its time, or the server refused it in these words."""

    why: str
    late: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """An index on the place, by oids and plain names; nothing in it if there is none."""

    oids: frozenset[int]
    names: frozenset[str]
    size_bytes: int


class Runs:
    """Runs statements on a place. `figure` says what counts as the time of a run; EXPLAIN's own sum, unless told."""

    def __init__(self, place: Place, *, figure: Callable[[Plan], float] | None = None) -> None:
        self.place = place
        self.count = 0
        self._figure = figure or _total_ms
        self._sql = blocks("tercet.advisor.verify", "verify.sql")
        self._cursors = itertools.count()

    @asynccontextmanager
    async def undone(self, arm: Arm, within: float) -> AsyncIterator[Connection]:
        """A transaction in which the arm's indexes are out of sight, and of which nothing stays."""
        async with undone(self.place, within) as connection:
            await self._enter(connection, arm)
            yield connection

    async def plan(self, arm: Arm, within: float) -> Plan | Stopped:
        """How the planner would answer."""
        try:
            async with self.undone(arm, within) as connection:
                return await self._explained(connection, "explain", arm.sql)
        except Exception as error:
            stopped = _stopped(error, within)
            if stopped is None:
                raise
            return stopped

    async def run(self, arm: Arm, within: float) -> Run | Stopped:
        """Run it; its own plan is made once before, so that no catalog is read while time is taken."""
        try:
            async with self.undone(arm, within) as connection:
                await self._explained(connection, "explain", arm.sql)
                pid = (await connection.exec_driver_sql("select pg_backend_pid()")).all()[0][0]
                before = self._cpu(pid)
                plan = await self._explained(connection, "analyze", arm.sql)
                after = self._cpu(pid)
                self.count += 1
                alone = not any(node.workers_launched for node in plan.walk())
                cpu = after - before if alone and before is not None and after is not None else None
                return Run(self._figure(plan), plan, cpu)
        except Exception as error:
            stopped = _stopped(error, within)
            if stopped is None:
                raise
            return stopped

    async def answer(self, arm: Arm, within: float) -> Answer | Stopped:
        """All rows of it, piece by piece."""
        name = identifier(f"tercet_answer_{next(self._cursors)}")
        answer = Answer()
        try:
            async with self.undone(arm, within) as connection:
                await connection.exec_driver_sql(self._sql["whole"])
                await connection.exec_driver_sql(self._sql["cursor"].format(name=name, sql=arm.sql))
                self.count += 1
                while True:
                    rows = (await connection.exec_driver_sql(f"fetch {_FETCH} from {name}")).all()
                    answer.names = answer.names or tuple(getattr(rows[0], "_fields", ()) if rows else ())
                    answer.take(rows)
                    if len(rows) < _FETCH:
                        return answer
        except Exception as error:
            stopped = _stopped(error, within)
            if stopped is None:
                raise
            return stopped

    async def timed(self, connection: Connection, sql: str) -> float:
        """The figure of a statement inside of a transaction that somebody has prepared.

        Unless another figure was wanted, it is what the processor has worked for it, where that is seen: whoever else
        is busy on the machine is not in it.
        """
        self.count += 1
        pid = (await connection.exec_driver_sql("select pg_backend_pid()")).all()[0][0]
        before = self._cpu(pid) if self._figure is _total_ms else None
        plan = await self._explained(connection, "analyze", sql)
        after = self._cpu(pid) if before is not None else None
        return after - before if before is not None and after is not None else self._figure(plan)

    async def index(self, name: str) -> Found:
        """An index by its quoted name, with its partitions'."""
        async with self.place.transaction() as connection:
            rows = (await connection.exec_driver_sql(self._sql["index"], (name,))).all()
        return Found(frozenset(row[0] for row in rows), frozenset(row[2] for row in rows), sum(row[1] for row in rows))

    async def size(self, name: str) -> int:
        """The bytes of a table or view with its indexes."""
        async with self.place.transaction() as connection:
            rows = (await connection.exec_driver_sql(self._sql["size"], (name,))).all()
        return int(rows[0][0])

    async def _enter(self, connection: Connection, arm: Arm) -> None:
        if self.place.kind != "sandbox":
            await connection.exec_driver_sql(self._sql["read_only"])
            await connection.exec_driver_sql(self._sql["limits"], (str(_LOCK_MS), str(_IDLE_MS)))
        if arm.search_path:
            path = ", ".join(identifier(schema) for schema in arm.search_path)
            await connection.exec_driver_sql(f"set local search_path = {path}")
        if not arm.hidden:
            return
        if arm.writes:
            names = (await connection.exec_driver_sql(self._sql["names"], (list(arm.hidden),))).all()
            for (statement,) in names:
                await connection.exec_driver_sql(statement)
        else:
            await connection.exec_driver_sql(self._sql["hide"], (list(arm.hidden),))

    async def _explained(self, connection: Connection, how: str, sql: str) -> Plan:
        rows = (await connection.exec_driver_sql(self._sql[how].format(sql=sql.strip().rstrip(";")))).all()
        return Plan.read(rows[0][0])

    def _cpu(self, pid: int) -> float | None:
        """Milliseconds on a processor that a backend on this machine has had; None where nobody tells."""
        if self.place.kind != "sandbox":
            return None
        try:
            return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / _NANOSECONDS_PER_MS
        except (OSError, ValueError, IndexError):
            return None


def _total_ms(plan: Plan) -> float:
    return plan.total_ms or 0.0


def _stopped(error: Exception, within: float) -> Stopped | None:
    """What it means; None for what no database has said."""
    if timed_out(error):
        return Stopped(f"it did not end within {within:g} s", late=True, seconds=within)
    return Stopped(words(error)) if sqlstate(error) else None
