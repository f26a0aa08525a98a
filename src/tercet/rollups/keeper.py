"""Views are refreshed and rollups merged on schedule: by one of all processes at a time, never twice at once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from tercet.clock import SystemClock
from tercet.errors import LockBusy, NotOpen, SettingInvalid, UsageError
from tercet.rollups.age import age, promise
from tercet.rollups.kept.merge import merge
from tercet.rollups.kept.rollup import Rollup
from tercet.rollups.views import refresh_view
from tercet.sql import View
from tercet.telemetry import Telemetry
from tercet.units import duration, seconds

if TYPE_CHECKING:
    from typing import Self

    from tercet.clock import Clock
    from tercet.migrations import Database

State = Literal["waiting", "resting", "working", "failing", "closed"]
Sleep = Callable[[float], Awaitable[None]]

# A shorter interval would be all refresh and no pause.
EVERY_SECONDS_MIN = 0.1
# After a failure the next try is this far away, twice as far each time, but not further than the interval or this.
RETRY_SECONDS = 1.0
RETRY_SECONDS_MAX = 300.0
# Processes that were started together do not all look at once: each waits a little longer than is due.
JITTER = 0.1
# Who finds that somebody else is at it looks again after this share of the interval: a killed one leaves it undone.
LOOK_SHARE = 0.25

_log = logging.getLogger("tercet.rollups")


@dataclass(frozen=True, slots=True)
class Kept:
    """How one thing that is kept stands in this process.

    "resting": another process is at it, or was lately. "failing": the last try has failed, with `error`, and
    `failures` before it in a row. `late` says that the last refresh took longer than its interval. `work` counts what
    this process has done itself.
    """

    name: str
    every: float
    state: State = "waiting"
    work: int = 0
    seconds: float | None = None
    late: bool = False
    failures: int = 0
    error: str | None = None

    @property
    def well(self) -> bool:
        """Whether it is kept as it should be."""
        return self.state != "failing" and not self.late


class Keeper:
    """Keeps what it is given, from `open` to `close`; each process of a service may run one over the same things.

    Who works holds a lock of the database until its commit, and the database remembers when it was done: a process
    that is killed leaves neither, and the next one that looks does it. `sleep` is handed over in tests.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock | None = None,
        telemetry: Telemetry | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._database, self._clock, self._sleep = database, clock or SystemClock(), sleep
        self._telemetry = telemetry or Telemetry()
        self._what: dict[str, tuple[View | Rollup, bool | None]] = {}
        self._states: dict[str, Kept] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # What the database knows to be kept by now, and how often.
        self._promised: set[str] = set()
        self._open = self._closed = False

    def keep(self, what: View | Rollup, *, every: str | float, concurrently: bool | None = None) -> None:
        """Refresh this view, or merge this rollup's log, so that it is never much older than `every`.

        `concurrently` as in refresh_view: None takes a plain refresh where no reader minds. A rollup that triggers
        keep is never behind and needs no keeper; UsageError says so.
        """
        if isinstance(what, Rollup) and what.way == "triggers":
            raise UsageError(
                f"The rollup {what.qualified} is kept by triggers, and is never behind.", "It needs no keeper."
            )
        if self._closed:
            raise NotOpen("The keeper", closed=True)
        name, pause = what.qualified, seconds(every)
        if pause < EVERY_SECONDS_MIN:
            wanted = f"{duration(EVERY_SECONDS_MIN)} or longer"
            raise SettingInvalid("every", where="keep()", shown=repr(every), wanted=wanted)
        if name in self._what:
            raise UsageError(f"{name} is kept already.", "Keep each view once; what is kept cannot be changed.")
        self._what[name], self._states[name] = (what, concurrently), Kept(name, pause)
        if self._open:
            self._start(name)

    def kept(self) -> tuple[Kept, ...]:
        """How each thing stands; costs no round trip."""
        return tuple(self._states.values())

    def open(self) -> None:
        """Begin, in the loop that runs; what is kept later begins then. Twice is fine."""
        if self._closed:
            raise NotOpen("The keeper", closed=True)
        if not self._open:
            self._open = True
            for name in self._what:
                self._start(name)

    async def close(self) -> None:
        """End; a refresh that is under way is taken back by the server. Twice is fine."""
        self._closed, tasks = True, list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._tasks.clear()
        for name in self._states:
            self._note(name, state="closed")

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _start(self, name: str) -> None:
        self._tasks[name] = asyncio.create_task(self._run(name), name=f"tercet keeps {name}")

    def _note(self, name: str, **changed: object) -> None:
        self._states[name] = replace(self._states[name], **changed)  # type: ignore[arg-type]  # names are checked there

    async def _run(self, name: str) -> None:
        while True:
            try:
                pause = await self._turn(name)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and tried again
                pause = self._failed(name, error)
            await self._sleep(pause * (1 + random.uniform(0, JITTER)))  # noqa: S311 - spreads processes out

    async def _turn(self, name: str) -> float:
        """Do it if it is due and nobody else does; how long to wait then."""
        what, _ = self._what[name]
        every = self._states[name].every
        told = await age(self._database, what)
        if told is not None and name not in self._promised:
            # Others see by it whether somebody keeps what they find.
            if told.every != every:
                await promise(self._database, what, every)
            self._promised.add(name)
        if told is not None and told.age is not None and told.age < every:
            self._note(name, state="resting" if self._states[name].work == 0 else "waiting", failures=0, error=None)
            return every - told.age
        try:
            await self._work(name)
        except LockBusy:
            self._note(name, state="resting", failures=0, error=None)
            return every * LOOK_SHARE
        spent = self._states[name].seconds or 0.0
        # It is as old as the beginning of its refresh.
        return max(every - spent, every * LOOK_SHARE) if self._states[name].late else max(every - spent, 0.0)

    async def _work(self, name: str) -> None:
        what, concurrently = self._what[name]
        state = self._states[name]
        self._note(name, state="working")
        began = self._clock.monotonic()
        operation = "refresh" if isinstance(what, View) else "merge"
        busy: LockBusy | None = None
        with self._telemetry.operation("rollups", operation, store="postgres"):
            try:
                if isinstance(what, View):
                    await refresh_view(self._database, what, concurrently=concurrently)
                else:
                    await merge(self._database, what)
            except LockBusy as error:
                # That another process is at it is no failure.
                busy = error
        if busy is not None:
            raise busy
        spent = self._clock.monotonic() - began
        late = spent > state.every
        if late and not state.late:
            _log.warning(
                "%s of %s takes %s, longer than its interval of %s: it is never that fresh",
                operation, name, duration(spent), duration(state.every),
            )  # fmt: skip
        self._note(name, state="waiting", work=state.work + 1, seconds=spent, late=late, failures=0, error=None)

    def _failed(self, name: str, error: Exception) -> float:
        state = self._states[name]
        _log.warning("%s could not be kept up to date (%s); it is tried again", name, type(error).__name__)
        self._note(name, state="failing", failures=state.failures + 1, error=type(error).__name__)
        most = min(max(state.every, RETRY_SECONDS), RETRY_SECONDS_MAX)
        return min(RETRY_SECONDS * 2.0 ** min(state.failures, 20), most)
