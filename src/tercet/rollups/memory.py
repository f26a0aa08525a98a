"""What is remembered of a view or rollup: how old it is, what its refreshes took, how far it is filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import UsageError
from tercet.rollups.blocks import blocks

if TYPE_CHECKING:
    from datetime import datetime

    from tercet.migrations import Connection


@dataclass(frozen=True, slots=True)
class Known:
    """What the database remembers; all that was committed before `as_of` is in it, None if that is not known.

    `age` and the others are seconds: of the last refresh or merge, and of the last one of either kind.
    """

    state: str = "ready"
    place: str | None = None
    as_of: datetime | None = None
    age: float | None = None
    seconds: float | None = None
    plain_seconds: float | None = None
    concurrent_seconds: float | None = None
    # How often whoever has kept it last does so.
    every: float | None = None


async def prepare(connection: Connection, *, needed: bool = False) -> bool:
    """Whether it can be remembered; makes the table for it where that is allowed, or says so if it is `needed`."""
    sql = blocks("tercet.rollups", "memory.sql")
    there, ours, schema, may = (await connection.exec_driver_sql(sql["able"])).all()[0]
    if not there and may:
        # Two that make it at once would be in each other's way.
        await connection.exec_driver_sql(sql["one_maker"])
        if not schema:
            await connection.exec_driver_sql(sql["schema"])
        await connection.exec_driver_sql(sql["table"])
        return True
    if needed and not ours:
        raise UsageError(
            "The table tercet.rollups, which remembers how far a rollup is filled, cannot be made or written to.",
            "Grant CREATE on the database once, or let its owner make the first one.",
        )
    return bool(ours)


async def refreshed(connection: Connection, name: str, seconds: float, *, concurrently: bool) -> None:
    """Remember in this transaction that `name` holds all that was committed before the transaction began."""
    if await prepare(connection):
        sql = blocks("tercet.rollups", "memory.sql")["refreshed"]
        await connection.exec_driver_sql(sql, (name, seconds, concurrently))


async def filled(connection: Connection, name: str, state: str, place: str | None) -> None:
    """Remember in this transaction how far a rollup is filled."""
    await connection.exec_driver_sql(blocks("tercet.rollups", "memory.sql")["filled"], (name, state, place))


async def known(connection: Connection, name: str) -> Known | None:
    """What is remembered of this quoted name; None if nothing is."""
    sql = blocks("tercet.rollups", "memory.sql")
    if not (await connection.exec_driver_sql(sql["able"])).all()[0][1]:
        return None
    rows = (await connection.exec_driver_sql(sql["known"], (name,))).all()
    return Known(*rows[0]) if rows else None


async def promised(connection: Connection, name: str, every: float) -> None:
    """Remember that `name` is kept about as fresh as that, if it is remembered at all."""
    sql = blocks("tercet.rollups", "memory.sql")
    if not (await connection.exec_driver_sql(sql["able"])).all()[0][1]:
        return
    whole, ours = (await connection.exec_driver_sql(sql["whole"])).all()[0]
    if not whole and ours:
        await connection.exec_driver_sql(sql["one_maker"])
        await connection.exec_driver_sql(sql["mend"])
    if whole or ours:
        await connection.exec_driver_sql(sql["promised"], (name, every))


async def forget(connection: Connection, name: str) -> None:
    """Remember nothing of it any more."""
    sql = blocks("tercet.rollups", "memory.sql")
    if (await connection.exec_driver_sql(sql["able"])).all()[0][1]:
        await connection.exec_driver_sql(sql["forget"], (name,))
