"""JSON: documents that are searched by what they contain or which keys they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import Draft, Kind, key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """A GIN index; the smaller operator class where nobody asks for keys.

    A key that is taken out and compared (data ->> 'k' = …) is an expression's matter.
    """
    for one in scan.by("contains", "has", "search"):
        if one.term.type != "jsonb":
            continue
        operators = None if (one.term.of, "has") in around.asked else "jsonb_path_ops"
        why = f"finds documents by what {one.term.sql} holds"
        yield Draft((key(one.term, operators=operators),), why, one.share, method="gin")


KIND = Kind("jsonb", drafts)
