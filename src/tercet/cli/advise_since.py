"""What has become of the tables of a piece of advice since it was given, in one line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tercet.advisor.advice import CachePolicy, Rewrite
from tercet.advisor.reading import read
from tercet.advisor.report import schema_digest, table_digests
from tercet.cli.advise_stale import check, made_by
from tercet.cli.advise_views import is_there
from tercet.cli.opening import opened, place_of, settings_of
from tercet.errors import AdviceStale, SqlInvalid, TercetError
from tercet.sql import Index, View
from tercet.sql.identifier import table_parts
from tercet.sql.tree import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tercet.advisor import Advice, Catalog, Piece
    from tercet.advisor.report import Kept
    from tercet.sql.port import Database

# An explanation is wanted now; a database that is busy or away is not waited for longer.
_WITHIN_SECONDS = 15.0


async def changed_since(piece: Piece, kept: Kept, address: str | None, folder: Path) -> str:
    """What has changed, or why nobody was asked; "" where nothing has that matters to this piece."""
    try:
        settings = await settings_of(address, folder)
        if place_of(settings) != kept.place:
            return f"whether it still holds was not asked: that is told by {kept.place}, give its URL"
        async with asyncio.timeout(_WITHIN_SECONDS), opened(settings) as db:
            return await since(piece, kept, db.postgres, await read(db.postgres))
    except (TercetError, TimeoutError) as error:
        why = error.says if isinstance(error, TercetError) else "the database did not answer in time."
        return f"whether it still holds could not be asked: {why}"


async def since(piece: Piece, kept: Kept, database: Database, catalog: Catalog) -> str:
    """What has changed of what the piece is about, as a line; "" where nothing has."""
    ours = made_by(kept.advice)
    same = await schema_digest(database, without=ours) == kept.schema
    told = [] if same else [*_changes(piece, kept, await table_digests(database, without=ours))]
    there = await _there(piece, kept.advice, catalog, database, same=same)
    if there and there not in told:
        told.append(there)
    return f"changed since it was advised: {'; '.join(told)}" if told else ""


async def _there(piece: Piece, advice: Advice, catalog: Catalog, database: Database, *, same: bool) -> str:
    """What is done already, or stands against it."""
    if isinstance(piece.value, View):
        there = await is_there(database, piece.value.qualified)
        word = {(True, "view"): "exists now", (False, "drop_view"): "is gone"}.get((there, piece.kind))
        return f"{'.'.join(table_parts(piece.value.name))} {word}" if word else ""
    try:
        found = check(piece, advice, catalog, same=same)
    except AdviceStale as error:
        # Where nothing has changed, it only waits for another piece.
        return "" if same else error.reason
    index = piece.value
    if not found and isinstance(index, Index) and piece.kind == "index":
        table = catalog.find(*table_parts(index.table)[::-1])
        ddl = piece.ddl[0].lower() if piece.ddl else ""
        if (
            table is not None
            and not ddl.startswith("reindex")
            and any(one.index.name == index.name and one.valid for one in table.indexes)
        ):
            return f"the index {index.name} exists now"
    return found


def _changes(piece: Piece, kept: Kept, now: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    if not kept.tables:
        yield "tables, columns or indexes, nobody knows which"
        return
    for name in sorted(_tables(piece, kept)):
        if name not in now:
            yield f"there is no table {name}"
            continue
        parts = ("columns", "indexes")
        other = [word for word, a, b in zip(parts, kept.tables[name], now[name], strict=True) if a != b]
        if other:
            yield f"{name} has other {' and '.join(other)}"


def _tables(piece: Piece, kept: Kept) -> set[str]:
    """The tables that a piece is about, as far as they were there when it was advised."""
    match piece.value:
        case Index() as index:
            named = {table_parts(index.table)}
        case View() as view:
            named = _named(view.query)
        case Rewrite() as rewrite:
            named = _named(rewrite.before)
        case CachePolicy() as policy:
            asked = [one.sql for one in kept.advice.statements if one.fingerprint == policy.fingerprint]
            named = {name for sql in asked for name in _named(sql)}
        case _:
            named = set()
    # A name without its schema may mean any that has it.
    return {
        full for full in kept.tables for parts in named
        if full == ".".join(parts) or (len(parts) == 1 and full.endswith(f".{parts[0]}"))
    }  # fmt: skip


def _named(sql: str) -> set[tuple[str, ...]]:
    try:
        trees = [one for one in parse(sql).walk() if one.kind == "RangeVar"]
    except SqlInvalid:
        return set()
    return {tuple(filter(None, (one.text("schemaname"), one.text("relname")))) for one in trees}
