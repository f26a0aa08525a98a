"""Two statements compared on a database's own rows, which are only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from tercet.advisor.equivalence.answers import Asked, compare
from tercet.advisor.equivalence.asking import as_text, ties_of
from tercet.advisor.equivalence.statements import statement
from tercet.advisor.equivalence.verdict import Checked, Counterexample
from tercet.advisor.failure import words
from tercet.advisor.marked import marked
from tercet.errors import TercetError
from tercet.sql.tree import Tree, parse, write
from tercet.units import seconds

if TYPE_CHECKING:
    from tercet.sql.port import Connection, Database

# What two whole answers may take together on somebody's production.
WITHIN = "30s"
# A lock that is not free at once is somebody's: we do not stand in a queue that others then stand behind.
_LOCK_MILLISECONDS = 200
# Answers up to this many rows are compared row by row, ties included; longer ones by their sums of hashes.
ROWS_MAX = 10_000
# Rows shown of those that differ.
_SHOWN = 3


async def check_on(database: Database, before: str, after: str, *, within: str | float = WITHIN) -> Checked:
    """Compare what two queries answer on this very database, in one READ ONLY snapshot.

    Both are stopped after `within`, and a statement that the server refuses or stops leaves it "unchecked".
    Rows are compared as a multiset, and in the order of the first query where its answer has few rows; ties at the
    end of a LIMIT may be others.
    """
    first, second = parse(before), parse(after)
    if "SelectStmt" not in (first.kind, second.kind) or first.kind != second.kind:
        return Checked("unchecked", why="only a SELECT can be compared by its rows")
    limit = seconds(within)
    try:
        async with marked(database).transaction(within=limit) as connection:
            await connection.exec_driver_sql("set transaction isolation level repeatable read, read only")
            await connection.exec_driver_sql(f"set local lock_timeout = {_LOCK_MILLISECONDS}")
            return await _compared(connection, first, second)
    except DBAPIError as error:
        return Checked("unchecked", why=words(error))
    except TercetError as error:
        return Checked("unchecked", why=str(error))


async def _compared(connection: Connection, first: Tree, second: Tree) -> Checked:
    one, other = [await _texts(connection, statement("sums", query=write(tree))) for tree in (first, second)]
    count = int(one[0].split()[0])
    if count > ROWS_MAX:
        if one == other:
            return Checked("same", 1, count, "by the sums of the rows' hashes")
        return await _differing(connection, first, second, count)
    rows, after = [await _texts(connection, as_text(tree)) for tree in (first, second)]
    keys = ties_of(first)
    asked = Asked(rows, await _texts(connection, keys) if keys else None)
    if compare(asked, after) == "same":
        return Checked("same", 1, count, "" if count else "neither has a row here")
    if first.get("limit_count") is not None and keys and _up_to_ends(asked, after):
        return Checked("undetermined", 1, count, "its LIMIT cuts through rows that are tied, and others came")
    return await _differing(connection, first, second, count)


def _up_to_ends(asked: Asked, after: tuple[str, ...]) -> bool:
    """Whether all but the rows tied with the first or the last one are the same."""
    ties = asked.ties or ()
    if len(after) != len(asked.rows) or not ties:
        return False
    inside = [place for place, tie in enumerate(ties) if tie not in {ties[0], ties[-1]}]
    if not inside:
        return True
    part = slice(inside[0], inside[-1] + 1)
    return compare(Asked(asked.rows[part], ties[part]), after[part]) == "same"


async def _differing(connection: Connection, first: Tree, second: Tree, count: int) -> Checked:
    """The verdict with a few rows that only one of them has."""
    shown = [
        await _texts(connection, statement("only_one", query=write(one), other=write(other), rows=_SHOWN))
        for one, other in ((first, second), (second, first))
    ]
    return Checked("refuted", 1, count, "they answer differently", Counterexample((), shown[0], shown[1]))


async def _texts(connection: Connection, asked: str) -> tuple[str, ...]:
    rows = (await connection.exec_driver_sql(asked)).all()
    return tuple("" if row[0] is None else str(row[0]) for row in rows)
