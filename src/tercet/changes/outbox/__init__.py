"""The outbox: events that commit with the rows they tell of, handled in order, each effect once."""

from tercet.changes.outbox.delivery import Delivery
from tercet.changes.outbox.event import Event
from tercet.changes.outbox.outbox import Outbox

__all__ = ["Delivery", "Event", "Outbox"]
