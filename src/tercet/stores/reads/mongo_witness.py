"""Tells a load's witness what each read of MongoDB could see, whoever reads through the client.

A change stream tells what a majority has, and the primary has applied all of that: a read that asks for the primary
and begins after a change was told sees it. (A server refuses such a read when it is no primary. One that is cut off
from its majority believes itself to be one for up to electionTimeoutMillis, 10 s unless set otherwise; who cannot
bear that reads with read concern linearizable.) So it is noted as having seen everything: what is told while it runs
is not for a witness to judge, but for whoever drops it.

A secondary applies later. Each answer carries the server's operationTime, to which it had come by then; a read sees
at least what the newest answer said that had ended before it began, from the same server at the same read concern,
and what afterClusterTime makes it wait for. Where nothing is known, nothing counts as seen. A server that changes its
state may be rolling back, and what it said is forgotten. The same holds for primaryPreferred and nearest, also
where they reach the primary, because nobody promises that it still is one; directConnection makes every read such.

A snapshot says its own time. A transaction and a cursor see what was there when they began: they count if they began
under the same witness, which was told then, and otherwise as not known.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from pymongo import monitoring

from tercet.witness import Through, current

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from tercet.witness import Witness

    Address = tuple[str, int | None]

# Later than any time that a server can tell.
EVERYTHING: Final = 1 << 64
NOTHING: Final = 0

_READS = frozenset({"find", "aggregate", "count", "distinct", "findAndModify", "mapReduce"})
_ENDS = frozenset({"commitTransaction", "abortTransaction"})
# Transactions and cursors that a witness has seen begin. What is forgotten counts as not known.
_VIEWS_MAX = 10_000
_SECONDS_SHIFT = 32


def source_of(set_name: object, *, sharded: bool = False) -> str | None:
    """Whose count the cluster times are by, or None where a server stands alone and has none.

    The set's name is what every login is told, and what stays over restarts, failovers and changes of its
    members. Its replicaSetId would tell two sets of one name apart, and asks for rights that an application
    seldom has. Of sharded clusters there is one: mongos tells no name. They are not tested.
    """
    if sharded:
        return "mongo:sharded"
    return f"mongo:{set_name}" if isinstance(set_name, str) and set_name else None


class Watch(monitoring.CommandListener, monitoring.ServerListener):
    """Listens to one client's commands; they are told in the task that runs them."""

    def __init__(self) -> None:
        # None says nothing to any witness, which makes it refuse what it cannot know.
        self.source: str | None = None
        # How far a server had come, as its newest answer at this read concern has said.
        self._known: dict[tuple[Address, str | None], int] = {}
        # The read concern of commands under way, where it is not the server's own.
        self._levels: dict[int, str] = {}
        # Who has seen a transaction or a cursor begin.
        self._views: OrderedDict[Hashable, Witness] = OrderedDict()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """A command is about to be sent: what it will read is at least what is there now."""
        command = event.command
        concern = command.get("readConcern") or {}
        level = concern.get("level")
        if level is not None:
            self._levels[event.request_id] = level
        witness, source = current(), self.source
        if witness is None or source is None:
            return
        if command.get("autocommit") is False:
            self._in_transaction(event, witness, source)
        elif event.command_name == "getMore":
            if self._views.get((event.connection_id, command["getMore"])) is not witness:
                witness.note(Through(source, NOTHING))
        elif event.command_name in _READS:
            if level == "snapshot" and "atClusterTime" not in concern:
                # Which snapshot it reads, it tells afterwards.
                return
            witness.note(Through(source, self._bound(event.connection_id, command)))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """An answer has come: how far its server had come by then, and which cursors and snapshots it has opened."""
        level = self._levels.pop(event.request_id, None) if self._levels else None
        if event.command_name not in _READS and event.command_name != "getMore":
            return
        reply: Mapping[str, Any] = event.reply
        cursor = reply.get("cursor") or {}
        witness = current()
        if event.command_name == "getMore":
            # Read at the concern of its cursor, which is not known here.
            return
        if witness is not None and self.source is not None:
            if level == "snapshot":
                at = cursor.get("atClusterTime") or reply.get("atClusterTime")
                witness.note(Through(self.source, NOTHING if at is None else _number(at)))
            if cursor.get("id"):
                self._view((event.connection_id, cursor["id"]), witness)
        if (at := reply.get("operationTime")) is not None:
            key = (event.connection_id, level)
            self._known[key] = max(self._known.get(key, NOTHING), _number(at))

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """A command has brought nothing, and has told nothing."""
        self._levels.pop(event.request_id, None)

    def opened(self, event: monitoring.ServerOpeningEvent) -> None:
        """Nothing is known of it yet."""

    def description_changed(self, event: monitoring.ServerDescriptionChangedEvent) -> None:
        """A server that has become another kind of member may have taken back what it had."""
        if event.previous_description.server_type != event.new_description.server_type:
            self._forget(event.server_address)

    def closed(self, event: monitoring.ServerClosedEvent) -> None:
        """It is a member no more."""
        self._forget(event.server_address)

    def _forget(self, address: Address) -> None:
        for key in [key for key in self._known if key[0] == address]:
            del self._known[key]

    def _in_transaction(self, event: monitoring.CommandStartedEvent, witness: Witness, source: str) -> None:
        command = event.command
        key = (bytes(getattr(command["lsid"]["id"], "bytes", command["lsid"]["id"])), command["txnNumber"])
        if command.get("startTransaction"):
            witness.note(Through(source, self._bound(event.connection_id, command)))
            self._view(key, witness)
        elif event.command_name in _ENDS:
            self._views.pop(key, None)
        elif self._views.get(key) is not witness:
            witness.note(Through(source, NOTHING))

    def _bound(self, address: Address, command: Mapping[str, Any]) -> int:
        """The moment up to which this read is sure to see everything."""
        concern = command.get("readConcern") or {}
        if (at := concern.get("atClusterTime")) is not None:
            return _number(at)
        preference = command.get("$readPreference") or {}
        if preference.get("mode", "primary") == "primary":
            return EVERYTHING
        after = concern.get("afterClusterTime")
        known = self._known.get((address, concern.get("level")), NOTHING)
        return known if after is None else max(known, _number(after))

    def _view(self, key: Hashable, witness: Witness) -> None:
        self._views[key] = witness
        if len(self._views) > _VIEWS_MAX:
            self._views.popitem(last=False)


def _number(stamp: Any) -> int:
    """A cluster time as one number: its seconds above its count within the second."""
    return int(stamp.time) << _SECONDS_SHIFT | int(stamp.inc)
