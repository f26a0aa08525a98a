"""The changes of MongoDB as a Tercet has them, and what a follower asks of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from tercet.changes.changes import Changes
from tercet.changes.mongo.mongo import sources
from tercet.changes.mongo.mongo_leader import leaders
from tercet.witness import Through

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bson.timestamp import Timestamp
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.clock import Clock
    from tercet.telemetry import Telemetry

_SECONDS_SHIFT = 32
# What is told of a document that was there before, whatever its collection keeps.
_ALWAYS = frozenset({"_id"})


class MongoChanges(Changes):
    """What is committed in one database of MongoDB; it may not be open before somebody subscribes."""

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
        *,
        source: Callable[[], str | None],
        service: str,
        clock: Clock,
        telemetry: Telemetry,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database, self._whose = database, source
        made = sources(database, clock=clock)
        super().__init__(made, leaders(database), service=service, clock=clock, telemetry=telemetry, is_open=is_open)

    async def seen(self) -> Through | None:
        """What a read of the primary sees now; None where the server does not say."""
        source, answer = self._whose(), await self._database.command("ping")
        at: Timestamp | None = answer.get("operationTime")
        return None if source is None or at is None else Through(source, at.time << _SECONDS_SHIFT | at.inc)

    async def covered(self, tables: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        """Of each of these collections, the fields whose old values are told: all where it keeps pre-images.

        A collection that is not there yet counts as one that keeps none; it is made by its first document.
        """
        try:
            found = await (await self._database.list_collections(filter={"name": {"$in": list(tables)}})).to_list()
        except OperationFailure:
            # Who may not ask is told of the key alone.
            found = []
        keep = {
            one["name"]
            for one in found
            if one.get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled")
        }
        return {name: columns if name in keep else columns & _ALWAYS for name, columns in tables.items()}
