"""Which columns of a query's answer come straight out of which column of a table, as the server has resolved it."""

from __future__ import annotations

import re

_ENTRY = re.compile(r":resno (\d+) .*?:resorigtbl (\d+) :resorigcol (\d+)", re.DOTALL)

# A letter that stands for itself, a brace, a field's name, and what is between them.
_PIECE = re.compile(r"\\.|[{}]|:\w*|[^\\{}:]+", re.DOTALL)


def origins(action: str) -> dict[int, tuple[int, int]]:
    """(table's oid, column's number) by the number of the output column, from a view's stored query (pg_rewrite)."""
    return {
        int(found[1]): (int(found[2]), int(found[3]))
        for found in _ENTRY.finditer(_outermost(action))
        if int(found[2]) and int(found[3]) > 0
    }


def _outermost(action: str) -> str:
    """The target list of the outermost query, without those of the queries inside of it."""
    depth, kept = 0, []
    inside = False
    for piece in _PIECE.findall(action):
        if piece == "{":
            depth += 1
        elif piece == "}":
            depth -= 1
        elif depth == 1 and piece.startswith(":"):
            inside = piece.startswith(":targetList")
        # An entry's own fields stand one deeper than the query's; its expression deeper still.
        if inside and depth == 2 and not piece.startswith("\\"):  # noqa: PLR2004 - {QUERY … {TARGETENTRY …}}
            kept.append(piece)
    return "".join(kept)
