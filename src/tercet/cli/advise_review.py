"""`tercet advise --review`: whether what was applied is used, and how to take back what is not."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tercet.advisor.advice import Advice, Piece
from tercet.advisor.reading import read
from tercet.advisor.report import Kept, schema_digest
from tercet.cli.keeping import keep
from tercet.cli.opening import opened, place_of, refuse_replica, settings_of
from tercet.migrations import review
from tercet.settings import Settings
from tercet.sql import identifier
from tercet.units import size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from tercet.advisor import Catalog
    from tercet.cli.screen import Screen
    from tercet.migrations import Reviewed

_HEADER = ("", "what", "on", "since", "reads", "size", "promised", "verdict")
_FIGURES = (4, 5, 6)
_OF_A_REPLICA = "What only its primary reads is not counted here: give the primary's URL, and this one with --replica."


def review_advice(address: str | None, folder: Path, replicas: Sequence[str], days: int, screen: Screen) -> bool:
    """Show what has become of it; whether something should be taken back.

    What is offered is kept as the last advice, so that `--apply` takes it back; without such, that stays as it is.
    """
    kept, found = asyncio.run(_look(address, folder, replicas, days))
    if not found:
        screen.aside(f"nothing in {kept.place} was made by tercet advise --apply or --save")
        return False
    today = datetime.now(UTC).date()
    offered = {piece.table + piece.why: piece.number for piece in kept.advice.pieces}
    rows = [_row(one, today, days, offered) for one in found]
    screen.table(_HEADER, rows, right=_FIGURES)
    for piece in kept.advice.pieces:
        screen.result(f"{piece.number}  {piece.why}")
        screen.result(f"   to let it go:  tercet advise --apply {piece.number}")
        screen.result(f"   which runs:    {piece.ddl[0]}")
        screen.result(f"   and back with: {piece.undo[0]}")
    views = [one for one in found if one.view and one.unused(today, days)]
    for one in views:
        screen.result(f"{one.qualified} was not read: drop materialized view {one.qualified};")
    if kept.advice.pieces:
        keep(kept, folder)
    return bool(kept.advice.pieces or views)


async def _look(
    address: str | None, folder: Path, replicas: Sequence[str], days: int
) -> tuple[Kept, tuple[Reviewed, ...]]:
    async with AsyncExitStack() as stack:
        settings = await settings_of(address, folder)
        db = await stack.enter_async_context(opened(settings))
        await refuse_replica(db.postgres, _OF_A_REPLICA)
        others = [Settings.read({"postgres": one}) for one in replicas] or list(settings.replicas)
        places = [(await stack.enter_async_context(opened(one))).postgres for one in others]
        found = await review(db.postgres, places)
        catalog, schema = await read(db.postgres), await schema_digest(db.postgres)
    today = datetime.now(UTC).date()
    pieces = _offers([one for one in found if not one.view and one.unused(today, days)], catalog, today)
    return Kept(Advice((), pieces, None, "review"), place_of(settings), time.time(), schema), found


def _offers(unused: Sequence[Reviewed], catalog: Catalog, today: date) -> tuple[Piece, ...]:
    """The drops of indexes that nobody reads, as advice."""
    pieces: list[Piece] = []
    for one in unused:
        table = catalog.find(one.table[1], one.table[0])
        there = next((each for each in table.indexes if each.index.name == one.name), None) if table else None
        if table is None or there is None:
            continue
        concurrently = "" if table.kind == "p" else "CONCURRENTLY "
        undo = re.sub(r"^CREATE (UNIQUE )?INDEX ", rf"CREATE \1INDEX {concurrently}", one.definition)
        why = f"{one.name} was not read once in {one.age_days(today)} days"
        if one.unique:
            why += "; it also keeps values apart, which ends with it"
        drop = f"{there.index.drop(concurrently=bool(concurrently))};"
        made = Piece("drop_index", why, (drop,), (f"{undo};",), ".".join(one.table), size_bytes=one.size_bytes)
        pieces.append(replace(made, value=there.index, number=len(pieces) + 1))
    return tuple(pieces)


def _row(one: Reviewed, today: date, days: int, offered: dict[str, int]) -> tuple[str, ...]:
    number = next((str(at) for key, at in offered.items() if key.startswith(f"{'.'.join(one.table)}{one.name} ")), "")
    reads = str(one.view_reads) if one.view else " + ".join(str(scans) for scans in one.scans)
    now = one.view_bytes if one.view else one.size_bytes
    promised = size(one.mark.size_bytes) if one.mark.size_bytes else ""
    name = one.qualified if one.view else identifier(one.name)
    kind = f"view {name}" if one.view else f"index {name}"
    return (
        number, kind.replace('"', ""), ".".join(one.table), one.since.isoformat(), reads, size(now), promised,
        _verdict(one, today, days),
    )  # fmt: skip


def _verdict(one: Reviewed, today: date, days: int) -> str:
    if not one.valid:
        return "invalid: build it again with --apply"
    if one.unused(today, days):
        return "unused: let it go"
    if one.view_reads if one.view else sum(one.scans):
        return "used"
    if one.needed:
        return "not read, but a rule rests on it"
    return f"not read yet: say again in {days - one.age_days(today)} days"
