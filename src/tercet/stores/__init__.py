"""Three doors to three servers: pools, budgets, health."""

from tercet.stores.budget import Budget
from tercet.stores.edges import probes, replica_probes, store
from tercet.stores.health import Health, HealthCheck, Liveness, Readiness, StoreHealth
from tercet.stores.lane import Gate
from tercet.stores.port import PoolState, Probe, Store, Vital

__all__ = [
    "Budget",
    "Gate",
    "Health",
    "HealthCheck",
    "Liveness",
    "PoolState",
    "Probe",
    "Readiness",
    "Store",
    "StoreHealth",
    "Vital",
    "probes",
    "replica_probes",
    "store",
]
