"""`tercet advise --apply`: pieces of the last advice done on the database, so that nobody is blocked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from tercet.advisor.candidates import doubles
from tercet.advisor.reading import read
from tercet.advisor.report import schema_digest, table_digests
from tercet.advisor.report.words import what
from tercet.cli.advise_measure import Helped
from tercet.cli.advise_since import since
from tercet.cli.advise_stale import check, made_by, standing
from tercet.cli.advise_steps import numbers, picked, step
from tercet.cli.advise_views import declared, instead, is_there, keeping, make
from tercet.cli.keeping import keep, last
from tercet.cli.opening import opened, place_of, refuse_replica, settings_of
from tercet.errors import AdviceStale, UsageError
from tercet.migrations import (
    BuildIndex,
    DropIndex,
    DropView,
    MakeRollup,
    MakeView,
    Mark,
    RebuildIndex,
    Remark,
    alone,
    build_index,
    drop_index,
    put_mark,
    rebuild_index,
)
from tercet.migrations.steps import has_expression
from tercet.rollups import Rollup, drop_kept, taken_back
from tercet.sql import identifier
from tercet.sql.identifier import table_parts
from tercet.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date
    from pathlib import Path

    from tercet.advisor import Catalog, Piece
    from tercet.advisor.report import Kept
    from tercet.cli.screen import Bars, Screen
    from tercet.migrations import Blocker, Connection, Step
    from tercet.sql import View
    from tercet.stores.postgres import Postgres

_LOCK = "applying advice to this database"
_OF_A_REPLICA = "Ask its primary for advice, and apply that there: what is built on it comes here by itself."
# Before this version counters went to a process of their own, which tells them half a second later.
_COUNTS_AT_ONCE = 150_000
_COUNTING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """Which pieces, of which database's advice, and how patiently."""

    address: str | None
    folder: Path
    wanted: str
    # How long old transactions are waited for before a build locks anything.
    wait: str | float
    # Whether the statements that are helped may be run on it, READ ONLY.
    measure: bool = False


def apply(wish: Wish, screen: Screen) -> None:
    """Do these pieces, one after the other, and say what has come of it; what is there already is left so.

    Raises UsageError for a piece that is nothing of a database's, AdviceStale, BuildBlocked, LockBusy while somebody
    else applies, and what building raises. What was done before an error stays, and is said.
    """
    kept = last(wish.folder)
    # What replaces others comes before they go.
    pieces = sorted(picked(kept.advice, numbers(wish.wanted)), key=lambda one: one.kind.startswith("drop"))
    for piece in pieces:
        if isinstance(step(piece, _today()), Remark):
            mend = f"All about it: tercet advise --explain {piece.number}"
            raise UsageError(f"Piece {piece.number} is a {piece.kind}, which is done in the program.", mend)
    asyncio.run(_apply(wish, kept, pieces, screen))


async def _apply(wish: Wish, kept: Kept, pieces: Sequence[Piece], screen: Screen) -> None:
    settings = await settings_of(wish.address, wish.folder)
    if place_of(settings) != kept.place:
        mend = "Name that one, or ask for advice anew."
        raise UsageError(f"The last advice is for {kept.place}, and not for {place_of(settings)}.", mend)
    marked: dict[str, Mark] = {}
    async with opened(settings) as db:
        await refuse_replica(db.postgres, _OF_A_REPLICA)
        await _pieces(db.postgres, wish, kept, pieces, marked, screen)
    # The server counts what our connections have read when they end: that was nobody's use of it.
    async with opened(settings) as db, db.postgres.autocommit() as connection:
        if marked:
            await _counted(connection)
        for index, mark in marked.items():
            await put_mark(connection, index, mark, over=True)


async def _counted(connection: Connection) -> None:
    """Wait until the server tells what connections that have ended have read."""
    version = (await connection.exec_driver_sql("select current_setting('server_version_num')::int")).all()[0][0]
    if version < _COUNTS_AT_ONCE:
        await asyncio.sleep(_COUNTING_SECONDS)


async def _pieces(
    database: Postgres, wish: Wish, kept: Kept, pieces: Sequence[Piece], marked: dict[str, Mark], screen: Screen
) -> None:
    async with database.autocommit() as connection, alone(connection, _LOCK, wait=0):
        for piece in pieces:
            same = await schema_digest(database, without=made_by(kept.advice)) == kept.schema
            with screen.bars() as bars:
                lines = await _Applier(database, wish, kept, screen, bars, marked).apply(piece, same=same)
            for line in lines:
                screen.result(line)
            if same:
                # What we have done ourselves does not make the rest of the advice old.
                ours = made_by(kept.advice)
                schema = await schema_digest(database, without=ours)
                kept = replace(kept, schema=schema, tables=await table_digests(database, without=ours))
                keep(kept, wish.folder)


class _Applier:
    """Does one piece."""

    def __init__(
        self, database: Postgres, wish: Wish, kept: Kept, screen: Screen, bars: Bars, marked: dict[str, Mark]
    ) -> None:
        self._database, self._wish, self._kept = database, wish, kept
        self._screen, self._bars = screen, bars
        self._said: set[str] = set()
        self._marked = marked

    async def apply(self, piece: Piece, *, same: bool) -> list[str]:
        """Do it, and tell what was done."""
        head = f"{piece.number}  {piece.kind.partition('_')[0]}  {what(piece)}"
        catalog = await read(self._database)
        other = await since(piece, self._kept, self._database, catalog)
        if other:
            self._screen.aside(f"{piece.number}  {other}")
        there = check(piece, self._kept.advice, catalog, same=same)
        if there:
            return [f"{head}: nothing to do, {there}"]
        todo = step(piece, _today())
        helped = await Helped.of(self._database, catalog, self._kept.advice, piece, run=self._wish.measure)
        await helped.before()
        said = await self._do(todo, piece, catalog)
        said += await helped.after()
        return [f"{head}: {said[0]}", *(f"   {line}" for line in said[1:])]

    async def _do(self, todo: Step, piece: Piece, catalog: Catalog) -> list[str]:
        match todo:
            case BuildIndex():
                return await self._build(todo, piece, catalog)
            case DropIndex():
                await drop_index(
                    self._database, todo.index, patience=self._wish.wait, on_waiting=self._on_waiting(todo.index.name)
                )
                return [f"dropped, {size(piece.size_bytes)} given back", f"to take it back: {_closed(todo.undo)}"]
            case RebuildIndex():
                await rebuild_index(
                    self._database, todo.index, patience=self._wish.wait, on_waiting=self._on_waiting(todo.index.name)
                )
                return ["built anew"]
            case MakeView():
                return await self._view(todo, piece)
            case DropView():
                return await self._let_go(todo, piece)
            case MakeRollup() | Remark():
                raise AssertionError(todo)

    async def _build(self, todo: BuildIndex, piece: Piece, catalog: Catalog) -> list[str]:
        index = todo.index
        there = any(one.index.name == index.name and one.valid for one in standing(index, catalog))
        if not there:
            self._screen.aside(_room(piece))
        for extension in todo.extensions:
            if extension not in catalog.extensions:
                async with self._database.transaction() as connection:
                    await connection.exec_driver_sql(f"create extension if not exists {identifier(extension)}")
        if index.unique and not there:
            await self._all_different(todo)
        built = await build_index(
            self._database,
            index,
            patience=self._wish.wait,
            on_progress=lambda done, total: self._bars.tell(f"building {index.name}", done, total),
            on_waiting=self._on_waiting(index.name),
        )
        await self._mark(index.qualified, piece)
        if has_expression(index):
            async with self._database.autocommit() as connection:
                await connection.exec_driver_sql(f"analyze {index.qualified_table}")
        if built.existed:
            return ["is there already"]
        promised = f" ({size(piece.size_bytes)} were promised)" if piece.size_bytes else ""
        undo = _closed(piece.undo[0] if piece.undo else index.drop())
        return [
            f"built in {duration(built.seconds)}, {size(built.size_bytes)}{promised}, valid"
            + (", and keeps its values apart from now on" if index.unique else ""),
            f"to take it back: {undo}",
        ]

    async def _view(self, todo: MakeView, piece: Piece) -> list[str]:
        kept = keeping(piece)
        told = f"making {what(piece)}"
        self._screen.aside(_room(piece))
        self._bars.tell(told, 0, 0)
        made = await make(
            self._database, kept, todo.view, lambda ranges: self._bars.tell(told, ranges, 0), self._screen.aside
        )
        await self._mark(kept.mark_on, piece)
        if made.existed:
            return ["is there already"]
        undo = taken_back(kept.name, rollup=isinstance(kept.what, Rollup))
        return [
            f"made in {duration(made.seconds)}, {size(made.size_bytes)}, {kept.words}",
            f"because {kept.policy.why}",
            "to keep it up, in the program:",
            *(f"   {line}" for line in declared(kept)),
            *instead(piece, self._kept.advice),
            *_back(undo),
        ]

    async def _let_go(self, todo: DropView, piece: Piece) -> list[str]:
        if not await is_there(self._database, todo.name):
            return ["is gone already"]
        await drop_kept(self._database, table_parts(cast("View", piece.value).name))
        return [f"dropped with all that kept it, {size(piece.size_bytes)} given back", *_back(todo.undo)]

    async def _mark(self, index: str, piece: Piece) -> None:
        mark = Mark(_today(), piece.size_bytes, piece.helps)
        async with self._database.autocommit() as connection:
            if await put_mark(connection, index, mark):
                self._marked[index] = mark

    async def _all_different(self, todo: BuildIndex) -> None:
        """Read the whole table before a rule is made of what statistics only say."""
        self._bars.tell(f"looking for doubles in {what_table(todo)}", 0, 0)
        async with self._database.transaction(within=0) as connection:
            await connection.exec_driver_sql("set transaction read only")
            if (await connection.exec_driver_sql(doubles(todo.index))).all():
                raise AdviceStale(
                    f"the values of {what_table(todo)} are not all different, so {todo.index.name} cannot be"
                )

    def _on_waiting(self, name: str) -> Callable[[Sequence[Blocker]], None]:
        """Say of each one once that it is waited for."""

        def told(found: Sequence[Blocker]) -> None:
            for one in found:
                key = f"{one.pid} {one.gid}"
                if key not in self._said:
                    self._said.add(key)
                    self._screen.aside(f"{name} waits for {one.words()}; to end it: {one.mend()}")

        return told


def what_table(todo: BuildIndex) -> str:
    """The table and its columns, as a person says them."""
    return f"{todo.index.qualified_table} ({', '.join(key.sql() for key in todo.index.keys)})"


def _room(piece: Piece) -> str:
    """What it takes while it is made."""
    if not piece.size_bytes:
        return "see that the disk has room: how much it takes is not known"
    return (
        f"it takes about {size(piece.size_bytes)} on the disk, as much again in temporary files while it is made, "
        "and as much in the write-ahead log"
    )


def _back(statements: Sequence[str]) -> list[str]:
    """How to take something back, in a line or, of several statements, in one each."""
    if len(statements) == 1:
        return [f"to take it back: {_closed(statements[0])}"]
    return ["to take it back, all of it:", *(f"   {_closed(one)}" for one in statements)] if statements else []


def _closed(statement: str) -> str:
    return f"{statement.rstrip('; ')};"


def _today() -> date:
    return datetime.now(UTC).date()
