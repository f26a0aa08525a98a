"""What people ask about an outbox and do with its dead letters; the command `tercet changes` asks it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from tercet.changes.outbox.event import shown
from tercet.changes.outbox.postgres import checked, meant, statements
from tercet.errors import SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.changes.outbox.port import Database

# Dead letters that are fetched at once.
PAGE = 500

# Bounds where none was given: nobody's events are older or younger.
EVER, NEVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)

_SQL = statements()


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """What waits for one consumer, or is dead; `seen_seconds` since a process last said that it has it."""

    name: str
    types: tuple[str, ...]
    seen_seconds: float
    parked: int
    dead: int
    error: str | None


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How an outbox stands."""

    name: str
    waiting: int
    parked: int
    dead: int
    kept: int
    # Of what waits or is parked.
    oldest_seconds: float | None
    consumers: tuple[ConsumerState, ...]


@dataclass(frozen=True, slots=True)
class SlotState:
    """A replication slot of this database: how much log it holds back, and who reads it."""

    name: str
    plugin: str
    temporary: bool
    active: bool
    # reserved, extended, unreserved or lost.
    wal_status: str | None
    lag_bytes: int | None
    # How much more may be written before it is lost; None without a cap.
    safe_bytes: int | None
    reader: str | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that its consumer did not take, and why."""

    id: str
    consumer: str
    type: str
    key: str
    attempts: int
    parked: datetime
    error: str | None
    reason: str | None
    event: object


class Desk:
    """Asks about the outboxes of one database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def outboxes(self) -> Sequence[OutboxState]:
        """All that have something to tell; none where no outbox was ever installed."""
        ((there,),) = await self._ask("there", {})
        if not there:
            return []
        return [await self._state(name) for (name,) in await self._ask("outboxes", {})]

    async def slots(self) -> Sequence[SlotState]:
        """All logical slots of this database."""
        return [SlotState(*row) for row in await self._ask("slots", {})]

    async def dead(self, outbox: str, *, most: int = PAGE, after: int = 0) -> Sequence[DeadLetter]:
        """Dead letters, the oldest first."""
        rows = await self._ask("dead", {"outbox": checked(outbox), "most": most, "after": after})
        told: list[list[Any]] = [[*row[1:9], shown(bytes(row[9]))] for row in rows]
        return [DeadLetter(*fields) for fields in told]

    async def revive(self, outbox: str, ids: Sequence[str] | None) -> int:
        """Try these again, or all; how many that are. What could not be read at all stays where it is."""
        return await self._change("revive", outbox, ids)

    async def drop(self, outbox: str, ids: Sequence[str] | None) -> int:
        """Throw these dead letters away, or all; how many that were."""
        return await self._change("drop_dead", outbox, ids)

    async def replay(
        self,
        outbox: str,
        consumer: str,
        *,
        ids: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Deliver again to this consumer what was kept; how many events that are.

        An effect that was made once (`once=…`) is not made again while its mark is kept.
        """
        values = {"consumer": consumer, "since": since or EVER, "until": until or NEVER}
        return await self._change("replay", outbox, ids, **values)

    async def _state(self, name: str) -> OutboxState:
        ((waiting, parked, dead, kept, oldest),) = await self._ask("counts", {"outbox": name})
        rows = await self._ask("consumers", {"outbox": name})
        consumers = tuple(ConsumerState(row[0], tuple(row[1]), *row[2:]) for row in rows)
        return OutboxState(name, waiting, parked, dead, kept, oldest, consumers)

    async def _change(self, name: str, outbox: str, ids: Sequence[str] | None, **values: Any) -> int:
        which = {"every": ids is None, "ids": [_id(one) for one in ids or ()]}
        ((count,),) = await self._ask(name, {"outbox": checked(outbox), **which, **values})
        return int(count)

    async def _ask(self, name: str, values: dict[str, Any]) -> Sequence[Any]:
        async with self._database.transaction() as connection:
            try:
                rows = await connection.execute(_SQL[name], values)
            except DBAPIError as error:
                ours = meant(error)
                if ours is None:
                    raise
                raise ours from error
            found: Sequence[Any] = rows.all()
            return found


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise SettingInvalid(
            "ID", where="The command", shown=repr(text), wanted="the id of an event, a UUID"
        ) from error
