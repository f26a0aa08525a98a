"""The tier that processes share: entries, leases, tag versions and drops, in Redis."""

from tercet.cache.shelf.delivery import Delivery
from tercet.cache.shelf.glob import Globs
from tercet.cache.shelf.port import (
    DEADLINE_SECONDS,
    LEASE_SECONDS,
    TRUST_SECONDS,
    BusState,
    Drop,
    Grant,
    Shelf,
    Versions,
)

__all__ = [
    "DEADLINE_SECONDS",
    "LEASE_SECONDS",
    "TRUST_SECONDS",
    "BusState",
    "Delivery",
    "Drop",
    "Globs",
    "Grant",
    "Shelf",
    "Versions",
]
