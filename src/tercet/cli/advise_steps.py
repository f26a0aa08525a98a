"""Pieces of advice as steps that can be taken: by a migration, or here and now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tercet.advisor.advice import CachePolicy, Rewrite
from tercet.advisor.candidates import extensions
from tercet.advisor.catalog import Catalog
from tercet.advisor.report.words import count, what
from tercet.errors import UsageError
from tercet.migrations import BuildIndex, DropIndex, DropView, MakeView, Mark, RebuildIndex, Remark
from tercet.rollups.relation import mark_of
from tercet.sql import Index, View

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from tercet.advisor import Advice, Piece
    from tercet.advisor.report import Kept
    from tercet.migrations import Step


def day_of(kept: Kept) -> date:
    """The day on which the advice was given."""
    return datetime.fromtimestamp(kept.made_at, UTC).date()


def numbers(text: str) -> tuple[int, ...]:
    """The numbers in "1,2", each once. Raises UsageError."""
    found = [one.strip() for one in text.split(",") if one.strip()]
    if not found or not all(one.isdecimal() for one in found):
        raise UsageError(f"{text!r} should be numbers of pieces.", "Write: --apply 1,2")
    return tuple(dict.fromkeys(int(one) for one in found))


def picked(advice: Advice, wanted: Sequence[int]) -> tuple[Piece, ...]:
    """The pieces of these numbers. Raises UsageError for one that is not there."""
    there = ", ".join(str(piece.number) for piece in advice.pieces) or "none"
    found = []
    for number in wanted:
        piece = advice.piece(number)
        if piece is None:
            raise UsageError(f"The last advice has no piece {number}.", f"Its pieces are: {there}.")
        found.append(piece)
    return tuple(found)


def step(piece: Piece, day: date) -> Step:
    """What is to be done for a piece; a Remark where that is nothing in the database. `day` stands in its mark."""
    mark = Mark(day, piece.size_bytes, piece.helps).text()
    why = f"{piece.number}. {what(piece)}: {piece.why}" + (
        f" (helps {count(len(piece.helps), 'statement')})" if piece.helps else ""
    )
    match piece.value:
        case Index() as index if piece.kind == "drop_index":
            return DropIndex(index, why, piece.undo[0] if piece.undo else index.create())
        case Index() as index if piece.ddl and piece.ddl[0].lower().startswith("reindex"):
            return RebuildIndex(index, why)
        case Index() as index:
            return BuildIndex(index, why, needed(index), mark)
        case View() as view if piece.kind == "drop_view":
            return DropView(view.qualified, why, tuple(one.rstrip("; ") for one in piece.ddl), piece.undo)
        case View() as view:
            return MakeView(view, why, mark_of(view.create()), mark)
        case _:
            return Remark(why, _lines(piece))


def _lines(piece: Piece) -> tuple[str, ...]:
    """What stands in a comment of what is done in the program."""
    match piece.value:
        case Rewrite() as rewrite:
            return (*rewrite.before.splitlines(), "becomes", *rewrite.after.splitlines())
        case CachePolicy() as policy:
            return policy.lines
        case _:
            return piece.ddl


def needed(index: Index) -> tuple[str, ...]:
    """The extensions that an index rests on, by name."""
    return tuple(one.removeprefix("create extension ").strip('"') for one in extensions(index, Catalog()))
