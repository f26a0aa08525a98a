"""How many connections a process may have: arithmetic over what the server has to give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import BudgetExceeded

if TYPE_CHECKING:
    from tercet.telemetry.event import Store as StoreName

# A process does not run faster with more than this many statements under way at once; a server runs slower.
# PostgreSQL starts a process for each connection, the others a thread or less.
MOST = {"postgres": 20, "mongo": 50, "redis": 50}

# Left for migrations, psql and whoever looks after the server; only taken from sizes that are computed.
HEADROOM = {"postgres": 5, "mongo": 10, "redis": 10}

# Beside its pool an instance holds one connection for its health checks; MongoDB's client adds two that
# watch the server, one for each of its two clients.
BESIDE = {"postgres": 1, "mongo": 3, "redis": 1}

_MEND = {
    "postgres": "raise max_connections, or put PgBouncer in between (postgres_pooler=True)",
    "mongo": "raise net.maxIncomingConnections and the number of open files that mongod may have",
    "redis": "raise maxclients and the number of open files that the server may have",
}


@dataclass(frozen=True, slots=True)
class Budget:
    """The size of one store's pool and how it came about; `limit` None is a server that does not tell."""

    store: StoreName
    size: int
    explicit: bool
    instances: int
    limit: int | None
    reserved: int
    beside: int
    headroom: int

    @property
    def available(self) -> int | None:
        """What the server gives to ordinary logins."""
        return None if self.limit is None else max(0, self.limit - self.reserved)

    @property
    def wanted(self) -> int:
        """What all instances together can come to need."""
        return (self.size + self.beside) * self.instances

    def __str__(self) -> str:
        origin = "as set" if self.explicit else "computed"
        if self.limit is None:
            return f"{self.store}: {self.size} connections ({origin}; the server's limit is not known)"
        sum_ = f"({self.size} + {self.beside}) × {self.instances} = {self.wanted}"
        return (
            f"{self.store}: {self.size} connections ({origin}); "
            f"{sum_} of {self.available} ({self.limit} − {self.reserved} reserved)"
        )


def plan(store: StoreName, *, limit: int | None, reserved: int, instances: int, explicit: int | None) -> Budget:
    """The budget of one instance; BudgetExceeded when `instances` of them cannot fit into the server.

    An explicit size is taken as it is, as long as it fits. A computed one is the fair share of what is left
    after the headroom, and no more than is of use to one process.
    """
    beside, headroom = BESIDE[store], HEADROOM[store]
    if limit is None:
        size = explicit or MOST[store]
        return Budget(store, size, explicit is not None, instances, None, reserved, beside, headroom)
    available = max(0, limit - reserved)
    fits = available // instances - beside
    share = (available - headroom) // instances - beside
    size = explicit or max(1, min(MOST[store], share))
    budget = Budget(store, size, explicit is not None, instances, limit, reserved, beside, headroom)
    if size > fits:
        raise BudgetExceeded(
            store,
            wanted=budget.wanted,
            available=available,
            instances=instances,
            mend=_mend(budget, fits),
        )
    return budget


def _mend(budget: Budget, fits: int) -> str:
    sum_ = f"({budget.size} + {budget.beside}) × {budget.instances} = {budget.wanted}"
    smaller = f"Set {budget.store}_pool_size to {fits} or less, run" if fits >= 1 else "Run"
    return (
        f"The server's limit is {budget.limit}, {budget.reserved} of them reserved; an instance has a pool "
        f"of {budget.size} and {budget.beside} beside it: {sum_}. "
        f"{smaller} fewer instances, {_MEND[budget.store]}."
    )
