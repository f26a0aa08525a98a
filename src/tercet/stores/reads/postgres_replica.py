"""One replica: whether it is there, how far it has come, and who waits for it to come further."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from tercet.errors import StoreUnreachable
from tercet.stores.postgres import Postgres
from tercet.stores.postgres_probe import connect, read_dsn
from tercet.stores.reads.token import lsn_number

if TYPE_CHECKING:
    import asyncpg

    from tercet.clock import Clock
    from tercet.settings import Settings
    from tercet.stores.port import Vital
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Store as StoreName

_log = logging.getLogger("tercet.stores")

# A standby tells how far it has read the log; a server that follows nobody has what it has written.
_POSITION = """
SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
            ELSE pg_current_wal_insert_lsn() END::text
"""

# How long a question may take before the replica counts as away; readers have the primary in the meantime.
LOOK_SECONDS = 1.0
# How often it is asked while nobody does: one that stands still keeps its connections, and would keep its readers.
_EVERY_SECONDS = 1.0
# A replica that is away is looked for again after the first, and ever less often up to the last.
_PAUSE_SECONDS = (0.25, 15.0)
# A standby on the same network is about a millisecond behind; one question serves everybody who waits.
_POLL_SECONDS = (0.001, 0.005)
# Nobody can be further than the 64 bits of a log position.
_NOWHERE = -1


class Replica:
    """A server that follows the primary; a task of its own looks for it while it is away."""

    store: StoreName = "postgres"

    def __init__(self, settings: Settings, *, clock: Clock, telemetry: Telemetry, look: float) -> None:
        url = settings.url("postgres")
        if url is None:
            raise ValueError("settings without postgres_url")
        self.replica = url.place
        self._settings, self._clock, self._telemetry, self._look = settings, clock, telemetry, look
        self._dsn = read_dsn(url.reveal(), tls=settings.postgres_tls, tls_ca=settings.postgres_tls_ca)
        self.server: Postgres | None = None
        self.is_up = False
        self._at = _NOWHERE
        self._tried, self._failed = asyncio.Event(), asyncio.Event()
        self._waiting: dict[asyncio.Future[bool], int] = {}
        self._line: asyncpg.Connection | None = None
        self._asking = asyncio.Lock()
        self._poller: asyncio.Task[None] | None = None
        self._tender: asyncio.Task[None] | None = None

    @property
    def at(self) -> int:
        """Where it was when it was last asked; as long as that connection lives, it only goes on from there."""
        return _NOWHERE if self._line is None or self._line.is_closed() else self._at

    def open(self) -> None:
        """Begin to look for it; nobody waits for that."""
        self._tender = asyncio.create_task(self._tend(), name="tercet replica")

    async def close(self) -> None:
        """End its tasks and connections; twice is fine."""
        tasks = [task for task in (self._tender, self._poller) if task is not None]
        self._tender = self._poller = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._let_go()
        server, self.server, self.is_up = self.server, None, False
        if server is not None:
            await server.close()

    def failed(self) -> None:
        """Somebody had no answer from it: nobody is sent there before it has been looked for again."""
        self._is_away()
        self._failed.set()

    def _is_away(self) -> None:
        if self.is_up or not self._tried.is_set():
            _log.warning("the replica at %s does not answer; the primary answers its readers", self.replica)
        self.is_up = False
        self._tried.set()

    async def ready(self, patience: float) -> bool:
        """Whether it may be asked; waits for the first look at it, and for no other."""
        if not self._tried.is_set() and patience > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._tried.wait()
        return self.is_up

    async def reaches(self, at: int, patience: float) -> bool:
        """Whether it has come to this position, within so many seconds."""
        if self.at >= at:
            return True
        if patience <= 0 or not self.is_up:
            return False
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = at
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll(), name="tercet replica position")
        try:
            async with asyncio.timeout(patience):
                return bool(await waiter)
        except TimeoutError:
            return False
        finally:
            del self._waiting[waiter]

    # ---- its probe, for health ----

    async def look(self) -> Vital:
        """What it says about itself; raises StoreUnreachable while it has not been opened."""
        if self.server is None:
            raise StoreUnreachable("postgres", reason="it has not answered yet", address=self.replica)
        return await self.server.probe.look()

    # ---- whether it is there ----

    async def _tend(self) -> None:
        pause, longest = _PAUSE_SECONDS
        while True:
            self._failed.clear()
            try:
                await self._meet()
            except Exception as error:  # noqa: BLE001 - whatever it is, the primary answers, and it is looked for again
                _log.debug("the replica at %s was not met (%s)", self.replica, type(error).__name__)
                self._let_go()
                self._is_away()
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
                continue
            self.is_up = True
            self._tried.set()
            pause = _PAUSE_SECONDS[0]
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._failed.wait()

    async def _meet(self) -> None:
        """Open it if it is not open, and see that it answers."""
        if self.server is None:
            server = Postgres(self._settings, clock=self._clock, telemetry=self._telemetry)
            try:
                await server.open()
            except BaseException:
                await server.close()
                raise
            self.server = server
        await self._ask()

    # ---- how far it has come ----

    async def _poll(self) -> None:
        pause, longest = _POLL_SECONDS
        try:
            while self._waiting:
                await self._ask()
                for waiter, at in self._waiting.items():
                    if at <= self.at and not waiter.done():
                        waiter.set_result(True)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
        except Exception as error:  # noqa: BLE001 - whatever it is, the primary answers, and it is looked for again
            _log.debug("the replica at %s did not tell its position (%s)", self.replica, type(error).__name__)
            self._let_go()
            self.failed()
        finally:
            self._poller = None
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(False)

    async def _ask(self) -> None:
        async with self._asking, asyncio.timeout(self._look):
            if self._line is None or self._line.is_closed():
                # After a crash a standby begins anew from further back; what answers may even be another server.
                self._at = _NOWHERE
                self._line = await connect(self._settings, self._dsn)
            self._at = max(self._at, lsn_number(await self._line.fetchval(_POSITION)))

    def _let_go(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.terminate()
