"""tercet: the data layer for Python services that live on PostgreSQL, MongoDB and Redis at once.

This is the whole face. Each name is loaded when it is first touched, so that importing tercet stays cheap
and opens no driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tercet.cache import Cache as Cache
    from tercet.errors import PoolExhausted as PoolExhausted
    from tercet.errors import Refused as Refused
    from tercet.errors import StoreError as StoreError
    from tercet.errors import StoreUnreachable as StoreUnreachable
    from tercet.errors import TercetError as TercetError
    from tercet.errors import UsageError as UsageError
    from tercet.settings import Settings as Settings
    from tercet.telemetry import Telemetry as Telemetry
    from tercet.tercet import Tercet as Tercet

_HOMES = {
    "Cache": "tercet.cache",
    "PoolExhausted": "tercet.errors",
    "Refused": "tercet.errors",
    "Settings": "tercet.settings",
    "StoreError": "tercet.errors",
    "StoreUnreachable": "tercet.errors",
    "Telemetry": "tercet.telemetry",
    "Tercet": "tercet.tercet",
    "TercetError": "tercet.errors",
    "UsageError": "tercet.errors",
}

__all__ = [
    "Cache",
    "PoolExhausted",
    "Refused",
    "Settings",
    "StoreError",
    "StoreUnreachable",
    "Telemetry",
    "Tercet",
    "TercetError",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tercet' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
