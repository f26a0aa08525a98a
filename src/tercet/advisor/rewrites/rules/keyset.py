"""OFFSET reads and throws away all that it skips; going on from the last row seen does not. Only said, not done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.sources import aggregates
from tercet.sql.tree import write

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.advisor.rewrites.rule import Block


def note(block: Block, facts: Facts) -> str | None:
    """What to write instead of OFFSET; it takes another parameter, so the program has to change with it."""
    select = block.select
    offset = select.tree("limit_offset")
    if offset is None or not select.get("limit_count") or select.text("op") not in {"", "SETOP_NONE"}:
        return None
    number = offset.tree("ival") if offset.kind == "A_Const" else None
    if number is not None and not number.get("ival"):
        return None
    keys, ways = [], set()
    for item in select.trees("sort_clause"):
        node = item.tree("node")
        value = meant(node, select) if node is not None else None
        plain = value is not None and not any(True for _ in aggregates(value))
        if value is None or not plain or not facts.not_null(value, block.scope):
            return None
        keys.append(write(value))
        ways.add(item.text("sortby_dir") == "SORTBY_DESC")
    if len(ways) != 1:
        return None
    sign = "<" if ways == {True} else ">"
    row = f"({', '.join(keys)})" if len(keys) > 1 else keys[0]
    last = (
        f"({', '.join('last_' + key.rpartition('.')[2].strip(chr(34)) for key in keys)})" if len(keys) > 1 else "last"
    )
    return f"OFFSET reads all that it skips: WHERE {row} {sign} {last} of the page before, with the same ORDER BY"
