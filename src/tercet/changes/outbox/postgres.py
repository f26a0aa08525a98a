"""The outbox in PostgreSQL: events in the log or in a table, and everything that waits, is dead or is kept."""

from __future__ import annotations

from collections import defaultdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from tercet.changes.outbox.delivery import Work
from tercet.changes.outbox.port import said
from tercet.errors import ExtraMissing, SchemaInvalid, StoreError, UsageError

try:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError
except ImportError as error:
    raise ExtraMissing("The outbox", module="sqlalchemy", extra="postgres") from error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.changes.outbox.event import Envelope
    from tercet.changes.outbox.port import Barred, Database, Effect, Late, Transaction

Durable = Literal["auto", "slot", "table"]

# What our messages in the log begin with; the outbox's name follows.
PREFIX = "tercet:outbox:"

# Events claimed at once: an fsync for each portion, and a hundred or more make it cheap; yet each is held in memory.
TABLE_PORTION = 500
# Lanes and events of each that are claimed at once.
LANES = 64
LANE_PORTION = 100
# Old rows that one statement takes away, so that none takes long.
PRUNED_AT_ONCE = 10_000
# A consumer that no process has told of for so long is no longer waited for.
FORGOTTEN_SECONDS = 7 * 86_400.0

# PostgreSQL's words for a schema or a table that is not there, and for one that we may not use.
_MISSING = ("3F000", "42P01")
_FORBIDDEN = "42501"


def statements() -> dict[str, Any]:
    """The statements of outbox.sql by their names."""
    written = files("tercet.changes.outbox").joinpath("outbox.sql").read_text(encoding="utf-8")
    _, *parts = written.split("-- name: ")
    named = (part.partition("\n") for part in parts)
    return {name.strip(): text(body.strip()) for name, _, body in named}


_SQL = statements()


def meant(error: DBAPIError) -> Exception | None:
    """What an error of the driver says about our own tables, if it does."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state in _MISSING and "tercet" in str(error.orig):
        return UsageError(
            "The outbox has no tables in this database.",
            "Make them once, with the migrations: tercet changes install, or db.outbox.install() of a Tercet "
            "that handles nothing.",
        )
    if state == _FORBIDDEN:
        return StoreError(
            "postgres",
            "This login may not use what the outbox needs.",
            "Grant it usage on the schema tercet and select, insert, update, delete on its tables.",
        )
    return None


async def install(database: Database) -> None:
    """Make the schema `tercet` and its tables where they are missing; two who do it at once wait for each other."""
    async with database.transaction() as connection:
        await connection.execute(_SQL["alone"])
        for statement in _SQL["install"].text.split(";\n"):
            await connection.execute(text(statement))


class PostgresBook:
    """What the outbox of one name keeps in one database."""

    __slots__ = ("_database", "_durable", "_outbox", "_slot")

    def __init__(self, database: Database, *, outbox: str, slot: Late | None, durable: Durable) -> None:
        self._database, self._outbox, self._slot, self._durable = database, outbox, slot, durable

    async def emit(self, transaction: Transaction, events: Sequence[tuple[Envelope, bytes]]) -> None:
        """One statement, whatever their number; another one where a single event goes into the table."""
        values = {"outbox": self._outbox, **_columns(events)}
        slot = {"slot": said(self._slot), "prefix": PREFIX + self._outbox}
        if self._durable == "table" or self._slot is None:
            await self._run(transaction, "emit_table", values)
        elif self._durable == "auto" and len(events) == 1:
            one = {"outbox": self._outbox, "key": values["keys"][0], "content": values["contents"][0]}
            if not (await self._run(transaction, "emit_one", {**one, **slot})).scalar_one():
                await self._run(transaction, "emit_table", values)
        elif self._durable == "auto":
            await self._run(transaction, "emit_auto", {**values, **slot})
        else:
            answer = await self._run(transaction, "emit_slot", {**slot, "contents": values["contents"]})
            if not answer.first()[0]:
                raise StoreError(
                    "postgres",
                    f"Nobody would hear these events: the slot {slot['slot']!r} is not there, or has lost its place.",
                    "Start the service that reads it, or emit with durable='auto', which uses the table meanwhile.",
                )

    async def keep(self, envelopes: Sequence[tuple[Envelope, bytes]]) -> None:
        """One statement."""
        await self._write("keep", _columns(envelopes))

    async def barred(self, works: Sequence[Work], known: Mapping[str, Sequence[str]]) -> Barred:
        """One statement, by two indexes; consumers are few."""
        values: dict[str, Any] = {"consumers": [w.consumer for w in works], "keys": [w.key for w in works]}
        values |= {"ids": [w.id for w in works], "within": FORGOTTEN_SECONDS}
        values |= {"known": ["\n".join((name, *types)) for name, types in known.items()]}
        found: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for what, consumer, which in await self._read("barred", values):
            found[what].add((consumer, which))
        return found["lane"], found["dead"], {name: tuple(types.split("\n")) for name, types in found["new"]}

    async def park(self, works: Sequence[Work], token: str, lease: float) -> None:
        """One statement, numbered in this order."""
        values = {**_outcomes(works), "token": token, "lease": lease}
        values |= {"types": [w.type for w in works], "keys": [w.key for w in works]}
        values |= {"contents": [w.content for w in works], "leased": [w.leased for w in works]}
        await self._write("park", values)

    async def claim(self, consumers: Sequence[str], types: Sequence[str], token: str, lease: float) -> Sequence[Work]:
        """Alone among those who claim, for one statement."""
        values = {"consumers": list(consumers), "types": list(types), "lanes": LANES, "most": LANE_PORTION}
        rows = await self._claim("claim_parked", {**values, "token": token, "lease": lease})
        return [
            Work(name, consumer, kind, key, content, attempts, leased=True)
            for _, name, consumer, kind, key, content, attempts in rows
        ]

    async def settle(self, works: Sequence[Work], token: str) -> None:
        """One transaction."""
        done = [w for w in works if w.state == "done"]
        rest = [w for w in works if w.state != "done"]
        async with self._database.transaction() as connection:
            base = {"outbox": self._outbox, "token": token}
            if done:
                which = {"consumers": [w.consumer for w in done], "ids": [w.id for w in done]}
                await self._run(connection, "settle_done", {**base, **which})
            if rest:
                failed = [w.state in {"failed", "dead"} for w in rest]
                await self._run(connection, "settle_rest", {**base, **_outcomes(rest), "failed": failed})

    async def claim_table(self, token: str, lease: float) -> Sequence[tuple[int, bytes]]:
        """Alone among those who claim, for one statement."""
        rows = await self._claim("claim_table", {"most": TABLE_PORTION, "token": token, "lease": lease})
        return [(seq, bytes(content)) for seq, content in rows]

    async def release_table(self, numbers: Sequence[int], token: str) -> None:
        """One statement."""
        await self._write("release_table", {"seqs": list(numbers), "token": token}, named=False)

    async def renew(self, tokens: Sequence[str], lease: float) -> None:
        """One transaction."""
        values = {"outbox": self._outbox, "tokens": list(tokens), "lease": lease}
        async with self._database.transaction() as connection:
            await self._run(connection, "renew_parked", values)
            await self._run(connection, "renew_table", values)

    async def enrol(self, consumers: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """One transaction."""
        values = {"consumers": list(consumers), "types": ["\n".join(types) for types in consumers.values()]}
        async with self._database.transaction() as connection:
            if consumers:
                await self._run(connection, "enrol", {"outbox": self._outbox, **values})
            known = await self._run(connection, "enrolled", {"outbox": self._outbox, "within": FORGOTTEN_SECONDS})
            return {name: tuple(types) for name, types in known.all()}

    async def prune(self, *, kept: float | None, inbox: float) -> None:
        """A bounded number of rows a time; what is left goes with the next."""
        most = {"most": PRUNED_AT_ONCE}
        await self._write("prune_inbox", {"older": inbox, **most}, named=False)
        if kept is not None:
            await self._write("prune_kept", {"older": kept, **most})

    async def _claim(self, name: str, values: dict[str, Any]) -> Sequence[Any]:
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["fresh"])
            turn = await self._run(connection, "turn", {"outbox": self._outbox})
            if not turn.scalar():
                return ()
            rows = await self._run(connection, name, {"outbox": self._outbox, **values})
            found: Sequence[Any] = rows.all()
            return found

    async def _read(self, name: str, values: dict[str, Any]) -> Sequence[Any]:
        async with self._database.transaction() as connection:
            rows = await self._run(connection, name, {"outbox": self._outbox, **values})
            found: Sequence[Any] = rows.all()
            return found

    async def _write(self, name: str, values: dict[str, Any], *, named: bool = True) -> None:
        async with self._database.transaction() as connection:
            await self._run(connection, name, {"outbox": self._outbox, **values} if named else values)

    @staticmethod
    async def _run(transaction: Transaction, name: str, values: dict[str, Any]) -> Any:
        try:
            return await transaction.execute(_SQL[name], values)
        except DBAPIError as error:
            ours = meant(error)
            if ours is None:
                raise
            raise ours from error


class PostgresInbox:
    """Effects in PostgreSQL: the mark is a row of the same transaction."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self) -> None:
        """The table is there, or install() is named."""

    async def once(self, consumer: str, event_id: str, effect: Effect) -> bool:
        """Two at once wait for each other at the mark; whoever comes second finds it."""
        async with self._database.transaction() as connection:
            marked = await connection.execute(_SQL["mark"], {"consumer": consumer, "id": event_id})
            if marked.first() is None:
                return False
            await effect(connection)
            return True


def _columns(events: Sequence[tuple[Envelope, bytes]]) -> dict[str, Any]:
    return {
        "ids": [envelope.id for envelope, _ in events],
        "types": [envelope.type for envelope, _ in events],
        "keys": [envelope.key for envelope, _ in events],
        "contents": [content for _, content in events],
    }


def _outcomes(works: Sequence[Work]) -> dict[str, Any]:
    return {
        "ids": [w.id for w in works],
        "consumers": [w.consumer for w in works],
        "deads": [w.state == "dead" for w in works],
        "attempts": [w.attempts for w in works],
        "waits": [w.wait for w in works],
        "errors": [w.error for w in works],
        "reasons": [w.reason for w in works],
    }


def checked(name: str) -> str:
    """A name that an outbox may have; raises SchemaInvalid."""
    # It stands in the prefix of every message, and is told to people.
    if not name or len(name) > 40 or not name.replace("_", "a").isalnum() or not name.isascii():  # noqa: PLR2004 - a name's length
        raise SchemaInvalid(
            f"An outbox named {name!r}", reason="it is no plain word", mend="Letters, digits and _ , 40 at most."
        )
    return name
