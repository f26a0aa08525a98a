"""Changes: what was committed, told in order to whoever derives something from it."""

from tercet.changes.change import Change, Commit, Kind, Message, Position, Row, Wants
from tercet.changes.changes import Changes, Subscription
from tercet.changes.feeding.status import SubscriptionStatus
from tercet.changes.port import MARK, Emitter, Hearing, Listener, Source
from tercet.sql.port import Connection

__all__ = [
    "MARK",
    "Change",
    "Changes",
    "Commit",
    "Connection",
    "Emitter",
    "Hearing",
    "Kind",
    "Listener",
    "Message",
    "Position",
    "Row",
    "Source",
    "Subscription",
    "SubscriptionStatus",
    "Wants",
]
