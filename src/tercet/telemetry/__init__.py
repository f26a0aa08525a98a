"""What happens inside tercet, told as values; metrics and spans are made of them elsewhere."""

from tercet.telemetry.event import CacheRead, ConnectionWaited, Event, Operation, ServerChanged
from tercet.telemetry.telemetry import Telemetry

__all__ = ["CacheRead", "ConnectionWaited", "Event", "Operation", "ServerChanged", "Telemetry"]
