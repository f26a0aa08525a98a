"""Each store's edge, loaded only when the store is used: a driver that is not needed is never imported."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from tercet.errors import ExtraMissing

if TYPE_CHECKING:
    from types import ModuleType

    from tercet.clock import Clock
    from tercet.settings import Settings
    from tercet.stores.port import Probe, ReplicaProbe, Store
    from tercet.telemetry import Telemetry

_STORES = {"postgres": "Postgres", "mongo": "Mongo", "redis": "Redis"}
_PROBES = {
    "postgres": ("postgres_probe", "PostgresProbe"),
    "mongo": ("mongo", "MongoProbe"),
    "redis": ("redis", "RedisProbe"),
}


def store(name: str, settings: Settings, *, clock: Clock, telemetry: Telemetry) -> Store:
    """One store, not yet open; ExtraMissing when its driver is not installed."""
    made = getattr(_edge(name, name), _STORES[name])(settings, clock=clock, telemetry=telemetry)
    return cast("Store", made)


def probes(settings: Settings) -> tuple[Probe, ...]:
    """A probe for each store that has an address; none of them is connected yet."""
    made = []
    for name in settings.stores:
        file, kind = _PROBES[name]
        made.append(cast("Probe", getattr(_edge(file, name), kind)(settings)))
    return tuple(made)


def replica_probes(settings: Settings) -> tuple[ReplicaProbe, ...]:
    """A probe for each replica of PostgreSQL; none of them is connected yet."""
    return tuple(_edge("postgres_probe", "postgres").PostgresProbe(one) for one in settings.replicas)


def _edge(file: str, name: str) -> ModuleType:
    try:
        return import_module(f"tercet.stores.{file}")
    except ModuleNotFoundError as error:
        module = error.name or name
        if module.partition(".")[0] == "tercet":
            raise
        raise ExtraMissing(f"Tercet({name}=…)", module=module, extra=name) from error
