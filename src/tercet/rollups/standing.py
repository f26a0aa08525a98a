"""How everything that is kept stands, as the database itself tells it: no process of a service has to be asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.rollups.blocks import blocks
from tercet.rollups.kept.build import lock as rollup_lock
from tercet.rollups.kept.rollup import beside
from tercet.rollups.views import lock as view_lock
from tercet.sql import identifier
from tercet.units import duration

if TYPE_CHECKING:
    from tercet.migrations import Database
    from tercet.sql.identifier import Name

Policy = Literal["refresh", "log", "triggers"]
State = Literal["kept", "working", "by hand", "never", "overdue", "half filled", "empty", "unwatched"]

# A keeper looks a little after its time, and what it does takes its own: only what is later than both is overdue.
_LATE = 1.5
_SLACK_SECONDS = 5.0
# Catalogues and counters only.
_WITHIN = "10s"
# Every group is counted again; a table that takes longer is looked at by check, range by range.
_DRIFT_SECONDS = 30.0
_WORRIES = frozenset({"overdue", "half filled", "empty", "unwatched"})
_PART = re.compile(r'"((?:[^"]|"")+)"')


@dataclass(frozen=True, slots=True)
class Standing:
    """One view or rollup: `policy` is what keeps it, `state` whether that is done.

    `age` is how far behind it may be, in seconds: None where that is not known, 0 by triggers or with an exact log.
    `refreshed` is when it was last refreshed, or its log last merged; it then took `seconds`. `every` is how often
    somebody has promised to do so.
    """

    name: str
    policy: Policy
    state: State
    age: float | None = None
    refreshed: float | None = None
    seconds: float | None = None
    every: float | None = None
    size_bytes: int = 0
    log_bytes: int = 0

    @property
    def well(self) -> bool:
        """Whether nobody has to look after it."""
        return self.state not in _WORRIES

    @property
    def reason(self) -> str:
        """What is the matter, and its mend; "" where all is well."""
        match self.state:
            case "overdue":
                who = f"it was promised every {duration(self.every or 0)}, and nobody keeps it"
                return f"{who}: is a service with db.keep running, and does its refresh fail?"
            case "half filled":
                return "nobody fills it any more: make it again, and it goes on where it was"
            case "empty":
                return "it holds no data, and cannot be read: refresh it"
            case "unwatched":
                return "its triggers are gone or disabled: make it again, and repair it"
            case _:
                return ""


async def standing(database: Database) -> tuple[Standing, ...]:
    """Every materialized view that was made by us or is kept, and every rollup, by name. Only reads catalogues."""
    sql = blocks("tercet.rollups", "memory.sql")
    async with database.transaction(within=_WITHIN) as connection:
        await connection.exec_driver_sql("set transaction read only")
        rows = {row[0]: tuple(row[1:]) for row in (await connection.exec_driver_sql(sql["every_view"])).all()}
        rows = dict.fromkeys(rows, ("ready", None, None, None))
        if (await connection.exec_driver_sql(sql["able"])).all()[0][1]:
            rows |= {row[0]: tuple(row[1:]) for row in (await connection.exec_driver_sql(sql["every_row"])).all()}
        names = {one: _name(one) for one in rows}
        asked = (
            list(names),
            *([identifier(beside(of, what)) for of in names.values()] for what in ("kept", "log", "insert")),
            [view_lock(one) for one in names],
        )
        found = (await connection.exec_driver_sql(sql["stand"], asked)).all()
        locks = (*asked[:4], [rollup_lock(of) for of in names.values()])
        upkeep = {row[0]: row[8] for row in (await connection.exec_driver_sql(sql["stand"], locks)).all()}
    told = (_told(tuple(row), rows[row[0]], at_work=row[8] or upkeep[row[0]]) for row in found)
    return tuple(one for one in told if one is not None)


async def drift(database: Database, name: Name, *, within: str | float = _DRIFT_SECONDS) -> tuple[int, int] | None:
    """How many groups a rollup has, and how many are not what its table says; of one snapshot. Only reads.

    None where our reading would be counted as somebody's use of it: that takes a superuser to leave out.
    """
    sql = blocks("tercet.rollups", "memory.sql")
    async with database.transaction(within=within) as connection:
        await connection.exec_driver_sql("set transaction read only")
        if not (await connection.exec_driver_sql(sql["may_pause"])).all()[0][0]:
            return None
        await connection.exec_driver_sql(sql["pause"])
        text = sql["drift"].format(differ=identifier(beside(name, "differ")))
        groups, wrong = (await connection.exec_driver_sql(text)).all()[0]
        return groups, wrong


def _told(row: tuple[object, ...], remembered: tuple[object, ...], *, at_work: bool) -> Standing | None:
    name, kind, kept, log, size, log_size, triggers, idle, _, populated = row
    state, age, seconds, every = remembered
    if kind != "m" and not kept:
        # It was dropped by other means.
        return None
    policy: Policy = "refresh" if kind == "m" else "log" if log else "triggers"
    return Standing(
        str(name),
        policy,
        _state(
            policy, _number(age), _number(seconds), _number(every),
            at_work=at_work, filling=state == "filling", populated=bool(populated), watched=bool(triggers) and not idle,
        ),
        _number(age) if policy == "refresh" else 0.0,
        _number(age), _number(seconds), _number(every), int(str(size)), int(str(log_size)),
    )  # fmt: skip


def _state(
    policy: Policy,
    age: float | None,
    seconds: float | None,
    every: float | None,
    *,
    at_work: bool,
    filling: bool,
    populated: bool,
    watched: bool,
) -> State:
    late = age is None or age > (every or 0.0) * _LATE + 2 * (seconds or 0.0) + _SLACK_SECONDS
    # The first that holds.
    states: tuple[tuple[bool, State], ...] = (
        (at_work, "working"),
        (filling, "half filled"),
        (policy != "refresh" and not watched, "unwatched"),
        (not populated, "empty"),
        (policy == "triggers", "kept"),
        (every is None and age is None, "never"),
        (every is None, "by hand"),
        (late, "overdue"),
    )
    return next((state for holds, state in states if holds), "kept")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _name(quoted: str) -> Name:
    """The parts of a quoted name."""
    return tuple(part.replace('""', '"') for part in _PART.findall(quoted))
