"""The words in which advice is told, the same ones for every reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.advice import CachePolicy, Rewrite
from tercet.sql import Index, View
from tercet.sql.identifier import table_parts
from tercet.units import duration, size

if TYPE_CHECKING:
    from tercet.advisor.advice import Advice, Piece, Proof, StatementAdvice

KINDS = {
    "index": "index", "drop_index": "drop", "rewrite": "rewrite", "view": "view", "drop_view": "drop",
    "cache": "cache", "none": "none",
}  # fmt: skip
_METHODS = {"run": "proved", "sample": "proved on a sample", "plan": "planned, not run"}
# Less of a difference than this is not worth a word.
_PERCENT_SHOWN = 0.05


def milliseconds(value: float | None) -> str:
    """A time for people; a dash where nobody knows."""
    return "–" if value is None else duration(value / 1000)


def what(piece: Piece) -> str:
    """What a piece is about: the index by its columns, the view by its name, the rules of a rewrite."""
    match piece.value:
        case View() as view:
            return ".".join(table_parts(view.name))
        case Rewrite() as rewrite:
            return ", ".join(rewrite.rules) or "another text"
        case CachePolicy() as policy:
            return f"{policy.layer} {policy.key}"
        case _:
            return _index(piece)


def _index(piece: Piece) -> str:
    method = f" using {piece.method}" if piece.method not in {"", "btree"} else ""
    columns = f" ({', '.join(piece.columns)})" if piece.columns else ""
    text = f"{piece.table}{method}{columns}"
    if piece.include:
        text += f" include ({', '.join(piece.include)})"
    if piece.where:
        text += f" where {piece.where}"
    if isinstance(piece.value, Index) and piece.value.unique and piece.kind == "index":
        # It keeps rows out from then on, which nobody should learn from an INSERT that fails.
        text = f"unique {text}"
    if piece.kind == "drop_index" and isinstance(piece.value, Index):
        text = f"{piece.value.name} on {text}"
    return text or piece.why


def price(piece: Piece) -> str:
    """What a piece takes: bytes, the time of a refresh, dearer writes."""
    parts = []
    if piece.size_bytes:
        parts.append(f"{size(piece.size_bytes)} back" if piece.kind.startswith("drop") else size(piece.size_bytes))
    if piece.refresh_seconds is not None:
        parts.append(f"refresh {duration(piece.refresh_seconds)}")
    if piece.write_cost is not None and abs(piece.write_cost) >= _PERCENT_SHOWN:
        parts.append(f"writes {piece.write_cost:+.1f} %")
    return ", ".join(parts)


def proof(one: Proof | None) -> str:
    """How a claim was checked, in a few words."""
    if one is None:
        return ""
    if one.same_rows is False:
        return f"NOT the same rows{': ' + one.sentence if one.sentence else ''}"
    # Of two empty answers nothing is proved but how long they take.
    words = "run" if one.rows == 0 and one.method != "plan" else _METHODS[one.method]
    if one.sentence:
        return f"{words}, {one.sentence}"
    return f"{words}, same rows" if one.same_rows else words


def verdict(one: StatementAdvice) -> str:
    """What is said of a statement besides its times: its proof, or why it is left alone."""
    if one.pieces:
        return proof(one.proof)
    return f"left alone: {one.notes[0].removeprefix('left alone: ')}" if one.notes else "left alone"


def costs(advice: Advice) -> str:
    """One sentence of what all of it takes."""
    tables: dict[str, float] = {}
    for piece in advice.pieces:
        if piece.write_cost is not None:
            tables[piece.table] = tables.get(piece.table, 0.0) + piece.write_cost
    parts = [
        f"a write to {table} {abs(percent):.1f} % {'slower' if percent > 0 else 'quicker'}"
        for table, percent in sorted(tables.items())
        if abs(percent) >= _PERCENT_SHOWN
    ]
    bytes_ = advice.size_bytes
    if bytes_:
        parts.append(f"{size(abs(bytes_))} {'more' if bytes_ > 0 else 'less'} on the disk")
    return f"It costs: {', '.join(parts)}." if parts else ""


def times(before: float, after: float) -> str:
    """How many times quicker: "×1,014", "×1.4"."""
    if after <= 0 or before <= 0:
        return ""
    ratio = before / after
    return f"×{ratio:,.0f}" if ratio >= 10 else f"×{ratio:.1f}"  # noqa: PLR2004 - two figures are enough from ten on


def count(number: float, word: str) -> str:
    """ "1 call", "1,200 calls"."""
    return f"{number:,.0f} {word}{'' if number == 1 else 's'}"
