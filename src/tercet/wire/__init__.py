"""The wire to Redis: one connection that everybody in an event loop shares, with a deadline and a breaker."""

from tercet.wire.port import NodeState, Reply, WireState, Word, checked_name
from tercet.wire.script import Script
from tercet.wire.wire import Wire

__all__ = ["NodeState", "Reply", "Script", "Wire", "WireState", "Word", "checked_name"]
