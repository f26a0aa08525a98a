"""What happens inside tercet, told as values; metrics and spans are made of them elsewhere."""

from tercet.telemetry.event import CacheRead, ConnectionWaited, Event, LimitChecked, Operation, ServerChanged
from tercet.telemetry.telemetry import Telemetry

__all__ = ["CacheRead", "ConnectionWaited", "Event", "LimitChecked", "Operation", "ServerChanged", "Telemetry"]
