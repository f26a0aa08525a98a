"""Which columns of a query's answer come straight out of which column of a table, as the server has resolved it."""

from __future__ import annotations

import re

_ENTRY = re.compile(r":resno (\d+) .*?:resorigtbl (\d+) :resorigcol (\d+)", re.DOTALL)


def origins(action: str) -> dict[int, tuple[int, int]]:
    """(table's oid, column's number) by the number of the output column, from a view's stored query (pg_rewrite)."""
    return {
        int(found[1]): (int(found[2]), int(found[3]))
        for found in _ENTRY.finditer(_outermost(action))
        if int(found[2]) and int(found[3]) > 0
    }


def _outermost(action: str) -> str:
    """The target list of the outermost query, without those of the queries inside of it."""
    depth, at, kept = 0, 0, []
    inside = False
    while at < len(action):
        letter = action[at]
        if letter == "\\":
            at += 2
            continue
        if letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
        elif depth == 1 and letter == ":":
            inside = action.startswith(":targetList", at)
        # An entry's own fields stand one deeper than the query's; its expression deeper still.
        if inside and depth == 2:  # noqa: PLR2004 - {QUERY … {TARGETENTRY …}}
            kept.append(letter)
        at += 1
    return "".join(kept)
