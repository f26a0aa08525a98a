"""What tercet's advisor makes of the ladder's question, told nothing but the question itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import text

from tercet.advisor import Rewrite, advise
from tercet.rollups import drop_view
from tercet.sql import Index, View
from tercet.units import duration
from tercet_shop.models import Base
from tercet_shop.question import AS_WRITTEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tercet import Tercet
    from tercet.advisor import Advice, Piece
    from tercet_shop.port import Progress

# The search for indexes ends by itself long before; a machine that is very busy shall not keep the demo waiting.
_SEARCH = "10s"
# What the advisor is doing is told under these; all that is asked of a planner is one of them.
_COPYING = "copying"
_RUNNING = (_COPYING, "running", "building")
_PLANNING = "planning"

_MADE_LATER = text("""
select i.indexrelid::regclass::text as name
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid in ('users'::regclass, 'orders'::regclass)
  and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
  and c.relname <> all (:known)
""")
_VIEWS = text("select matviewname, definition from pg_matviews where schemaname = current_schema()")


@dataclass(frozen=True, slots=True)
class Advised:
    """The advisor's own road up to rung 2; what it did not advise is None or empty."""

    indexes: tuple[Index, ...] = ()
    rewritten: str | None = None
    view: View | None = None
    from_view: str | None = None
    # What a person is told of it.
    lines: tuple[str, ...] = field(default=())


async def advised(db: Tercet, since: datetime, progress: Progress) -> Advised:
    """Ask the advisor about the question as it is written; it tries all on a copy, and nothing is changed here."""
    began = time.perf_counter()
    told: set[str] = set()

    def tell(what: str, done: int, of: int) -> None:
        word = what.partition(" ")[0]
        part = f"1 advisor, {word if word in _RUNNING else _PLANNING}"
        told.add(part)
        # Only of copying it is known how much there is.
        progress(part, *((done, of) if word == _COPYING else (0, 0)))

    advice = await advise(db, question(since), seconds=_SEARCH, verify="sample", on_progress=tell)
    for part in told:
        progress(part, 1, 1)
    return read(advice, time.perf_counter() - began)


def question(since: datetime) -> str:
    """The question as it stands in a program's log, its moment written out."""
    asked = AS_WRITTEN.strip().replace(":since", f"'{since.isoformat()}'")
    return f"-- name: the biggest spenders\n{asked};"


def read(advice: Advice, seconds: float) -> Advised:
    """The advice for the one statement there is, ready to be built."""
    (statement,) = advice.statements
    pieces = [piece for piece in advice.pieces if statement.fingerprint in piece.helps]
    views = [piece.value for piece in pieces if isinstance(piece.value, View)]
    rewrites = [piece.value.after for piece in pieces if isinstance(piece.value, Rewrite)]
    return Advised(
        tuple(piece.value for piece in pieces if piece.kind == "index" and isinstance(piece.value, Index)),
        rewrites[0] if rewrites else None,
        views[0] if views else None,
        statement.sql_after if views else None,
        tuple(_lines(advice, pieces, statement.notes, seconds)),
    )


async def forget(db: Tercet) -> None:
    """Take away the indexes and views that the shop did not come with: an earlier climb's, whoever advised them."""
    known = [str(index.name) for table in Base.metadata.tables.values() for index in table.indexes if index.name]
    async with db.postgres.connection() as connection:
        views = (await connection.execute(_VIEWS)).all()
    for name, definition in views:
        await drop_view(db.postgres, View(name, definition.rstrip().rstrip(";"), key=("user_id",)))
    async with db.postgres.autocommit() as connection:
        for name in (await connection.execute(_MADE_LATER, {"known": known})).scalars().all():
            await connection.exec_driver_sql(f"drop index concurrently if exists {name}")


def plain(name: str | tuple[str, ...]) -> str:
    """A name without its schema."""
    return name if isinstance(name, str) else name[-1]


def _lines(advice: Advice, pieces: list[Piece], notes: tuple[str, ...], seconds: float) -> Iterator[str]:
    tried = f", {advice.engine.tried} plans" if advice.engine is not None else ""
    yield f"The advisor was given the query and nothing else ({duration(seconds)}{tried}). It says:"
    for piece in pieces:
        match piece.value:
            case Index() as index:
                yield f"  index    {_short(index)}{_megabytes(piece.size_bytes)}"
            case Rewrite() as rewrite:
                yield f"  rewrite  {', then '.join(rewrite.rules)}"
            case View() as view:
                each = ", ".join(view.key)
                yield f"  view     {plain(view.name)}, a row for each {each}{_megabytes(piece.size_bytes)}"
    if not pieces:
        yield "  nothing is worth its price at this size"
    yield from (f"  known    {note}" for note in notes)


def _short(index: Index) -> str:
    """An index as a person would write it down."""
    keys = ", ".join(str(key.of if isinstance(key.of, str) else key.of.sql) for key in index.keys)
    include = f" include ({', '.join(index.include)})" if index.include else ""
    return f"{plain(index.table)} ({keys}){include}{f' where {index.where}' if index.where else ''}"


def _megabytes(size: int) -> str:
    return f"  {size / 1e6:.1f} MB" if size else ""
