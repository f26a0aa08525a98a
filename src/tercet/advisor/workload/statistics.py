"""The statements that PostgreSQL itself has counted, in pg_stat_statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.blocks import blocks
from tercet.advisor.marked import MARK, marked
from tercet.advisor.workload.asked import Asked
from tercet.advisor.workload.folding import SHARE, TOP, Folding
from tercet.errors import StatisticsMissing

if TYPE_CHECKING:
    from tercet.advisor.query import Workload
    from tercet.sql.port import Connection, Database

# Among the heaviest there may be statements that nobody can be advised on, and several that fold into one.
_SPARE = 3
# Reading 100,000 texts takes the server about a second; a busy one may take ten times as long.
_WITHIN = "30s"
# A lock is waited for no longer than anybody would notice.
_LIMITS = "set local transaction read only", "set local lock_timeout = '1s'"

_SQL = ("tercet.advisor.workload", "statistics.sql")
_SOURCE = "pg_stat_statements"
# How the server shows the statements of somebody else to a user without the right to see them.
_HIDDEN = "<insufficient privilege>"
# The first words of statements that plan nothing. One that hides behind a comment is left out later, by its grammar.
_UTILITY = (
    r"^\s*(abort|alter|analyze|begin|call|checkpoint|close|cluster|comment|commit|copy\s+\w+|create|deallocate|discard"
    r"|do|drop|end|fetch|grant|import|listen|load|lock|move|notify|reassign|refresh|reindex|release|reset|revoke"
    r"|rollback|savepoint|security|set|show|start|truncate|unlisten|vacuum)\M"
)
# What a server says of it that was not told to load it when it started: object not in prerequisite state.
_NOT_LOADED = "shared_preload_libraries"


async def from_statistics(database: Database, *, top: int = TOP, share: float = SHARE) -> Workload:
    """The heaviest statements of this database as pg_stat_statements has counted them.

    So many at most (`top`), and no more than make up this `share` of all time. Only reads. Raises StatisticsMissing
    where the extension is not there, is not loaded, or is too old.
    """
    async with marked(database).transaction(within=_WITHIN) as connection:
        for limit in _LIMITS:
            await connection.exec_driver_sql(limit)
        schema, seconds, dropped, silent = await _place(connection)
        asked = blocks(*_SQL)["heaviest"].format_map({"schema": schema})
        rows = (await connection.exec_driver_sql(asked, (_UTILITY, top * _SPARE, f"%{MARK}%"))).all()
    folding, hidden = Folding(), 0.0
    fingerprints, whole = (rows[0][4], rows[0][5]) if rows else (0, 0.0)
    for sql, calls, ms, count, _, _ in rows:
        if sql == _HIDDEN:
            hidden += ms
        elif not folding.add(Asked(sql, calls, ms, count)):
            fingerprints, whole = fingerprints - 1, whole - ms
    _say_hidden(folding, hidden, whole)
    if dropped:
        why = f"pg_stat_statements had no room and has let go of the rarest {dropped:,} times"
        folding.skip("", f"{why}; more are kept with a greater pg_stat_statements.max")
    workload = folding.workload(
        _SOURCE, top=top, share=share, seconds=seconds, fingerprints=fingerprints, whole_ms=whole
    )
    if silent and not workload.queries:
        raise _nothing()
    return workload


async def _place(connection: Connection) -> tuple[str, float | None, int, bool]:
    """The extension's schema, quoted; for how long it has counted, how often it had to forget; whether it is off."""
    found = (await connection.exec_driver_sql(blocks(*_SQL)["place"])).all()
    if not found:
        raise StatisticsMissing(
            "the extension pg_stat_statements is not in this database",
            mend="Run there: create extension pg_stat_statements; or give statements with --query, --workload or --log",
        )
    schema, current, informed, silent = found[0]
    if not current:
        raise StatisticsMissing(
            "pg_stat_statements is older in this database than its server",
            mend="Run there: alter extension pg_stat_statements update",
        )
    try:
        if not informed:
            await connection.exec_driver_sql(f"select from {schema}.pg_stat_statements limit 1")
            return schema, None, 0, silent
        since = blocks(*_SQL)["since"].format_map({"schema": schema})
        seconds, dropped = (await connection.exec_driver_sql(since)).all()[0]
    except Exception as error:
        if _NOT_LOADED not in str(error):
            raise
        raise StatisticsMissing(
            "pg_stat_statements is not loaded by the server",
            mend="Set shared_preload_libraries = 'pg_stat_statements' and restart it; "
            "or give statements with --query, --workload or --log",
        ) from error
    return schema, seconds, dropped, silent


def _nothing() -> StatisticsMissing:
    return StatisticsMissing(
        "pg_stat_statements is told to count nothing",
        mend="Run there: alter system set pg_stat_statements.track = 'top'; select pg_reload_conf(); "
        "or give statements with --query, --workload or --log",
    )


def _say_hidden(folding: Folding, ms: float, whole: float) -> None:
    if ms and whole:
        why = f"statements of other users, {ms / whole:.0%} of the time, are not shown to this one"
        folding.skip(_HIDDEN, f"{why}; grant pg_read_all_stats to it")
