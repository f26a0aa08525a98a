"""The tier that processes share: entries, leases, tag versions and drops, in Redis."""

from tercet.cache.shelf.glob import Globs
from tercet.cache.shelf.port import BusState, Drop, Grant, Shelf, Versions

__all__ = ["BusState", "Drop", "Globs", "Grant", "Shelf", "Versions"]
