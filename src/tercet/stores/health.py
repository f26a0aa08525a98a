"""How the stores are: all at once, quickly, and never through an exhausted pool."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.errors import DeadlinePassed, LoginRefused, StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from tercet.clock import Clock
    from tercet.stores.port import PoolState, Probe, ReplicaProbe, Role, Vital
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Store as StoreName

Status = Literal["pass", "warn", "fail"]

# A load balancer asks every few seconds and does not wait for long: who has not answered by then is not well.
DEADLINE_SECONDS = 1.0
# However often somebody asks, the stores are asked once a second.
FRESH_SECONDS = 1.0
# Beyond this share of a server's connections the next deployment can be the one that does not get any.
NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """One store: whether and how fast it answers, and how full its pool and its server are.

    `reason` is a fixed sentence and `error` a class's name: neither carries an address or a driver's text.
    """

    store: StoreName
    status: Status
    critical: bool
    latency: float
    reason: str | None = None
    error: str | None = None
    pool: PoolState | None = None
    vital: Vital | None = None
    # Which replica of the store this is, by its place; empty for the store itself.
    replica: str = ""

    @property
    def role(self) -> Role:
        """Primary or replica, as far as the server has said."""
        return self.vital.role if self.vital else "unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """Every store at one moment; `status` is fail only when a critical store fails."""

    status: Status
    at: datetime
    stores: tuple[StoreHealth, ...]

    def store(self, name: str) -> StoreHealth | None:
        """One store's part, or None if it is not used."""
        return next((one for one in self.stores if one.store == name and not one.replica), None)

    def as_json(self) -> dict[str, object]:
        """The values of an application/health+json answer (draft-inadarei-api-health-check-06)."""
        checks: dict[str, list[object]] = {}
        for one in self.stores:
            for name, measured in _checks(one, self.at.isoformat()).items():
                checks.setdefault(name, []).append(measured)
        return {"status": self.status, "checks": checks}

    @property
    def http_status(self) -> int:
        """200 while the critical stores answer, 503 otherwise."""
        return 503 if self.status == "fail" else 200


@dataclass(frozen=True, slots=True)
class Liveness:
    """The process runs and its event loop turns; no store was asked."""

    status: Literal["pass"]
    open: bool
    at: datetime

    def as_json(self) -> dict[str, object]:
        """The values of an application/health+json answer."""
        return {"status": self.status, "checks": {}}


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether to send work here; changes only after several answers of one kind in a row."""

    ready: bool
    failures: int = 0
    successes: int = 0
    health: Health | None = None

    def after(self, health: Health, *, failures: int, successes: int) -> Readiness:
        """What one more look makes of it: so many bad ones in a row, or so many good ones, turn it."""
        if health.status == "fail":
            bad = self.failures + 1
            return Readiness(self.ready and bad < failures, bad, 0, health)
        good = self.successes + 1
        return Readiness(self.ready or good >= successes, 0, good, health)

    @property
    def http_status(self) -> int:
        """200 when ready, 503 when not."""
        return 200 if self.ready else 503


def judge(
    store: StoreName,
    *,
    critical: bool,
    latency: float,
    answer: Vital | BaseException,
    pool: PoolState | None,
    replica: str = "",
) -> StoreHealth:
    """What an answer, or an error instead of one, says about a store."""
    if isinstance(answer, BaseException):
        error = type(answer).__name__
        return StoreHealth(store, "fail", critical, latency, _reason(answer), error, pool, replica=replica)
    worries = [words for bad, words in _worries(answer, pool, follows=bool(replica)) if bad]
    status: Status = "warn" if worries else "pass"
    return StoreHealth(store, status, critical, latency, "; ".join(worries) or None, None, pool, answer, replica)


def overall(stores: Sequence[StoreHealth]) -> Status:
    """The status of all: fail for a critical store that fails, warn for anything else that is not well."""
    if any(one.status == "fail" and one.critical for one in stores):
        return "fail"
    return "warn" if any(one.status != "pass" for one in stores) else "pass"


def _worries(vital: Vital, pool: PoolState | None, *, follows: bool) -> tuple[tuple[bool, str], ...]:
    used, limit = vital.connections_used, vital.connections_max
    full = used is not None and limit is not None and used >= NEARLY_FULL * (limit - vital.connections_reserved)
    return (
        (pool is not None and pool.exhausted, "every connection of the pool is out and callers wait"),
        (full, "the server has hardly a connection left"),
        (vital.role == "replica" and not follows, "the server is a replica and takes no writes"),
    )


def _reason(error: BaseException) -> str:
    match error:
        case DeadlinePassed() | TimeoutError():
            return "it did not answer in time"
        case LoginRefused():
            return "it does not let us in"
        case StoreUnreachable():
            return "nobody answers"
        case _:
            return "it answered with an error"


def _checks(one: StoreHealth, time: str) -> dict[str, object]:
    component: dict[str, object] = {"componentId": one.replica} if one.replica else {}
    head: dict[str, object] = component | {"componentType": "datastore", "status": one.status, "time": time}
    if one.reason:
        head["output"] = one.reason
    answered: dict[str, object] = head | {"observedValue": round(one.latency * 1000, 3), "observedUnit": "ms"}
    checks: dict[str, object] = {f"{one.store}:responseTime": answered | {"role": one.role}}
    plain: dict[str, object] = component | {
        "componentType": "datastore", "time": time, "observedUnit": "connections",
    }  # fmt: skip
    if one.pool:
        pool = {"observedValue": one.pool.in_use, "limit": one.pool.size, "waiting": one.pool.waiting}
        checks[f"{one.store}:poolConnections"] = plain | pool
    if one.vital and one.vital.connections_used is not None:
        server = {"observedValue": one.vital.connections_used, "limit": one.vital.connections_max}
        checks[f"{one.store}:serverConnections"] = plain | server
    return checks


class HealthCheck:
    """Asks all probes at once, remembers the answer for a second, and asks once for many who ask."""

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        clock: Clock,
        telemetry: Telemetry,
        pools: Callable[[], Sequence[PoolState]] = tuple,
        critical: Mapping[str, bool] | None = None,
        failures: int = 3,
        successes: int = 2,
        replicas: Sequence[ReplicaProbe] = (),
    ) -> None:
        self._probes, self._replicas = tuple(probes), tuple(replicas)
        self._clock, self._telemetry, self._pools = clock, telemetry, pools
        self._critical = dict(critical or {})
        self._failures, self._successes = failures, successes
        self._last: tuple[float, Health] | None = None
        self._flight: asyncio.Task[Health] | None = None
        self._readiness = Readiness(ready=True)

    async def look(self) -> Health:
        """How the stores are, not older than a second; takes no longer than one store's deadline."""
        if self._last is not None and self._clock.monotonic() - self._last[0] < FRESH_SECONDS:
            return self._last[1]
        if self._flight is None:
            self._flight = asyncio.create_task(self._ask_all(), name="tercet health")
        # One caller who gives up must not end the look for the others.
        return await asyncio.shield(self._flight)

    async def readiness(self) -> Readiness:
        """Whether to send work here, counted on with each new look at the stores."""
        await self.look()
        return self._readiness

    async def close(self) -> None:
        """End a look that is under way, and let go of every probe's connection."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)
        probes = (*self._probes, *self._replicas)
        await asyncio.gather(*(probe.close() for probe in probes), return_exceptions=True)

    async def _ask_all(self) -> Health:
        try:
            with self._telemetry.operation("stores", "health"):
                replicas = (self._ask(one, one.replica) for one in self._replicas)
                stores = tuple(await asyncio.gather(*map(self._ask, self._probes), *replicas))
            health = Health(overall(stores), self._clock.now(), stores)
            self._last = self._clock.monotonic(), health
            self._readiness = self._readiness.after(health, failures=self._failures, successes=self._successes)
            return health
        finally:
            self._flight = None

    async def _ask(self, probe: Probe, replica: str = "") -> StoreHealth:
        started = self._clock.monotonic()
        answer: Vital | Exception
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                answer = await probe.look()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong on the way to a store is its health
            answer = error
        mine = (probe.store, replica)
        pool = next((one for one in self._pools() if (one.store, one.replica) == mine), None)
        return judge(
            probe.store,
            critical=not replica and self._critical.get(probe.store, True),
            latency=self._clock.monotonic() - started,
            answer=answer,
            pool=pool,
            replica=replica,
        )
