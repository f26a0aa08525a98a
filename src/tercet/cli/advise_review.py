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
from tercet.advisor.report import Kept, schema_digest, table_digests
from tercet.cli.advise_views import kept_words
from tercet.cli.keeping import keep
from tercet.cli.opening import opened, place_of, refuse_replica, settings_of
from tercet.errors import StoreError
from tercet.migrations import review
from tercet.rollups import drift, standing, taken_back
from tercet.settings import Settings
from tercet.sql import View, identifier
from tercet.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from tercet.advisor import Catalog
    from tercet.cli.screen import Screen
    from tercet.migrations import Reviewed
    from tercet.stores.postgres import Postgres

_HEADER = ("", "what", "on", "since", "reads", "size", "promised", "verdict")
_FIGURES = (4, 5, 6)
_OF_A_REPLICA = "What only its primary reads is not counted here: give the primary's URL, and this one with --replica."


def review_advice(address: str | None, folder: Path, replicas: Sequence[str], days: int, screen: Screen) -> bool:
    """Show what has become of it; whether something should be taken back.

    What is offered is kept as the last advice, so that `--apply` takes it back; without such, that stays as it is.
    """
    kept, found, told = asyncio.run(_look(address, folder, replicas, days))
    if not found:
        screen.aside(f"nothing in {kept.place} was made by tercet advise --apply or --save")
        return False
    today = datetime.now(UTC).date()
    offered = {piece.table + piece.why: piece.number for piece in kept.advice.pieces}
    rows = [_row(one, today, days, offered, told.get(one.qualified, "")) for one in found]
    screen.table(_HEADER, rows, right=_FIGURES)
    for piece in kept.advice.pieces:
        screen.result(f"{piece.number}  {piece.why}")
        screen.result(f"   to let it go:  tercet advise --apply {piece.number}")
        for at, statement in enumerate(piece.ddl):
            screen.result(f"   {'' if at else 'which runs:':<15}{statement}")
        screen.result(f"   and back with: {piece.undo[0] if piece.undo else 'create_rollup, as it is declared'}")
    if kept.advice.pieces:
        keep(kept, folder)
    return bool(kept.advice.pieces)


async def _look(
    address: str | None, folder: Path, replicas: Sequence[str], days: int
) -> tuple[Kept, tuple[Reviewed, ...], dict[str, str]]:
    async with AsyncExitStack() as stack:
        settings = await settings_of(address, folder)
        db = await stack.enter_async_context(opened(settings))
        await refuse_replica(db.postgres, _OF_A_REPLICA)
        others = [Settings.read({"postgres": one}) for one in replicas] or list(settings.replicas)
        places = [(await stack.enter_async_context(opened(one))).postgres for one in others]
        found = await review(db.postgres, places)
        catalog = await read(db.postgres)
        schema, tables = await schema_digest(db.postgres), await table_digests(db.postgres)
        told = {one.qualified: await _freshness(db.postgres, one) for one in found if one.view}
    today = datetime.now(UTC).date()
    unused = [one for one in found if one.unused(today, days)]
    pieces = (
        *_offers([one for one in unused if not one.view], catalog, today),
        *_views([*filter(_viewed, unused)], today),
    )
    numbered = tuple(replace(piece, number=at) for at, piece in enumerate(pieces, 1))
    return Kept(Advice((), numbered, None, "review"), place_of(settings), time.time(), schema, tables), found, told


def _viewed(one: Reviewed) -> bool:
    return one.view


async def _freshness(database: Postgres, one: Reviewed) -> str:
    """How old a view is and who keeps it; of a rollup, whether it is what its table says."""
    there = next((each for each in await standing(database) if each.name == one.qualified), None)
    said = kept_words(there) if there is not None else ""
    if not one.rollup:
        return said
    try:
        wrong = await drift(database, one.read_as)
    except StoreError as error:
        return f"{said}; its drift is not known ({type(error).__name__})"
    if wrong is None:
        return f"{said}; its drift was not looked at, which would count as a read"
    return f"{said}; {wrong[1]:,} of {wrong[0]:,} groups wrong{', repair it' if wrong[1] else ''}"


def _views(unused: Sequence[Reviewed], today: date) -> Iterator[Piece]:
    """The views and rollups that nobody reads, as advice."""
    for one in unused:
        why = f"{'.'.join(one.read_as)} was not read once in {one.age_days(today)} days, and is kept up all the same"
        value = View(one.read_as, one.query, ("only",) if one.rollup else _key(one.definition))
        drop = tuple(f"{each};" for each in taken_back(one.read_as, rollup=one.rollup))
        undo = () if one.rollup else (f"{value.create()};", f"{one.definition};")
        yield Piece(
            "drop_view", why, drop, undo, ".".join(one.read_as), method="rollup" if one.rollup else "materialized view",
            size_bytes=one.view_bytes, value=value,
        )  # fmt: skip


def _key(definition: str) -> tuple[str, ...]:
    """The columns of a view's unique index, as its definition names them."""
    inside = definition.partition("(")[2].rpartition(")")[0]
    return tuple(part.strip().strip('"') for part in inside.split(",")) or ("only",)


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


def _row(one: Reviewed, today: date, days: int, offered: dict[str, int], told: str) -> tuple[str, ...]:
    named = ".".join(one.read_as) * 2 if one.view else f"{'.'.join(one.table)}{one.name}"
    number = next((str(at) for key, at in offered.items() if key.startswith(f"{named} ")), "")
    reads = str(one.view_reads) if one.view else " + ".join(str(scans) for scans in one.scans)
    now = one.view_bytes if one.view else one.size_bytes
    promised = size(one.mark.size_bytes) if one.mark.size_bytes else ""
    name = one.qualified if one.view else identifier(one.name)
    on = one.read_as if one.view else one.table
    kind = f"{'rollup' if one.rollup else 'view'} {name}" if one.view else f"index {name}"
    return (
        number, kind.replace('"', ""), ".".join(on), one.since.isoformat(), reads, size(now), promised,
        "; ".join(filter(None, (_verdict(one, today, days), told))),
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
