"""What happens inside tercet, told as values; metrics and spans are made of them elsewhere."""

from tercet.telemetry.event import (
    CacheNoted,
    CacheRead,
    CacheState,
    ChangesHeard,
    ConnectionWaited,
    Event,
    FeedState,
    LimitChecked,
    Operation,
    ServerChanged,
    SessionRefused,
    WireWrote,
)
from tercet.telemetry.telemetry import Telemetry

__all__ = [
    "CacheNoted",
    "CacheRead",
    "CacheState",
    "ChangesHeard",
    "ConnectionWaited",
    "Event",
    "FeedState",
    "LimitChecked",
    "Operation",
    "ServerChanged",
    "SessionRefused",
    "Telemetry",
    "WireWrote",
]
