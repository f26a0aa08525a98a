"""The peers, one small file each: how it is set up as its own documentation advises, and what it refuses to do.

A file may answer several kinds of questions. Each kind is a table in it, from the name of a side to a factory:

    L1        (url, load)              a decorated function that answers from this process
    STORE     (url, kind)              a store of values: put, get, get_many, close
    FUNCTION  (url, function)          a decorated function with Redis behind it, and how it is dropped
    TAGGED    (url)                    a store whose entries can be dropped by what they belong to
    LOCK      (url)                    a lock by name
    RATE      (url, limit, seconds)    a rate limit by key

A factory is an asynchronous context manager, entered once for a whole comparison.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

# The order of the tables: ours, then by how much they offer.
NAMES = (
    "tercet",
    "redis",
    "cashews",
    "aiocache",
    "coredis",
    "glide",
    "dogpile",
    "async_lru",
    "cachebox",
    "pottery",
    "limits",
    "throttled",
)


@dataclass(frozen=True, slots=True)
class Peers:
    """The peers that are here, and why the others are not."""

    modules: dict[str, ModuleType]
    missing: dict[str, str]
    versions: dict[str, str]

    def sides(self, kind: str) -> dict[str, Any]:
        """Every side that answers this kind of question."""
        return {name: make for module in self.modules.values() for name, make in getattr(module, kind, {}).items()}

    def of(self, kind: str, side: str) -> str:
        """The peer whose side this is."""
        return next(peer for peer, module in self.modules.items() if side in getattr(module, kind, {}))

    def notes(self, kind: str) -> dict[str, str]:
        """What peers refuse to do of this kind, in their words or ours."""
        every: dict[str, str] = {}
        for module in self.modules.values():
            every |= getattr(module, "REFUSES", {}).get(kind, {})
        return every


def load(only: Sequence[str] | None = None) -> Peers:
    """Import the peers that can be imported, or only those named."""
    unknown = set(only or ()) - set(NAMES)
    if unknown:
        raise SystemExit(f"No such peer: {', '.join(sorted(unknown))}. There are: {', '.join(NAMES)}")
    modules: dict[str, ModuleType] = {}
    missing: dict[str, str] = {}
    versions: dict[str, str] = {}
    for name in NAMES:
        if only is not None and name not in only:
            continue
        try:
            module = importlib.import_module(f"peers.{name}")
        except ImportError as error:
            missing[name] = f"{type(error).__name__}: {error}"
            continue
        modules[name] = module
        for package in module.PACKAGES:
            versions[package] = metadata.version(package)
    return Peers(modules, missing, versions)
