"""Questions about many statements, asked of production in a few round trips: it may be far away."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import sqlstate, timed_out
from tercet.advisor.marked import MARK, marked
from tercet.errors import SqlInvalid, StoreUnreachable
from tercet.sql import Statement, identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.sql.port import Database

# Of one transaction: its locks on what the statements name are held until its end.
_AT_ONCE = 25
_LOCK_MS = "500"
# What all questions of one call may take there; where halves are asked again and again, the rest does without.
_ALL_SECONDS = 10.0


class Question(NamedTuple):
    """Something that answers one value, between what has to be done before it and after it."""

    first: str | None
    asked: str
    last: str | None = None


async def together(
    database: Database, questions: Sequence[Question], *, within: float, search_path: Sequence[str] = ()
) -> list[str | None]:
    """The answer of each question as text, None where the server refuses it; it is READ ONLY.

    `within` bounds, in seconds, what is asked at once; where that is not enough the halves are asked, so that only
    a question that is too slow by itself has no answer. Raises what a lost connection raises.
    """
    asking = _Asking(database, within, search_path, time.monotonic() + _ALL_SECONDS)
    found: list[str | None] = []
    for at in range(0, len(questions), _AT_ONCE):
        found += await asking.halving(questions[at : at + _AT_ONCE])
    return found


def about(name: str, sql: str, asked: str) -> Question | None:
    """A question about a statement that is prepared by this name meanwhile; None for what is not one statement."""
    try:
        Statement(sql)
    except SqlInvalid:
        return None
    return Question(f"prepare {name} as {sql}", asked, f"deallocate {name}")


@dataclass(frozen=True, slots=True)
class _Asking:
    database: Database
    within: float
    search_path: Sequence[str]
    until: float

    async def halving(self, questions: Sequence[Question]) -> list[str | None]:
        if time.monotonic() > self.until:
            return [None] * len(questions)
        try:
            return await self.at_once(questions)
        except Exception as error:
            # A session that was ended has a code of the server's, too.
            if isinstance(error, StoreUnreachable) or not (sqlstate(error) or timed_out(error)):
                raise
        if len(questions) == 1:
            return [None]
        middle = len(questions) // 2
        return [*await self.halving(questions[:middle]), *await self.halving(questions[middle:])]

    async def at_once(self, questions: Sequence[Question]) -> list[str | None]:
        sql = blocks("tercet.advisor", "together.sql")
        async with marked(self.database).transaction(within=self.within) as connection:
            # What is asked inside of a block may be counted by itself.
            texts = [[text and f"{text}\n{MARK}" for text in question] for question in questions]
            asked = msgspec.json.encode(texts).decode()
            await connection.exec_driver_sql(sql["settings"], (asked, _LOCK_MS))
            if self.search_path:
                path = ", ".join(map(identifier, self.search_path))
                await connection.exec_driver_sql(sql["search_path"], (path,))
            await connection.exec_driver_sql(sql["ask"])
            told: list[str | None] = msgspec.json.decode((await connection.exec_driver_sql(sql["told"])).all()[0][0])
        return told
