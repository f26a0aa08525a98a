"""Trigram: a pattern that may begin anywhere, found by the groups of three letters in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import Draft, Kind, key
from tercet.advisor.candidates.kinds.prefix import anchored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Condition, Scan

EXTENSION = "pg_trgm"
# Fewer letters in a row make no group of three, and the index would be read as a whole.
LETTERS_MIN = 3

_WILD = re.compile(r"[%_]")
# Where a regular expression stops to be letters.
_SPECIAL = re.compile(r"\\.|[\[\](){}.*+?|^$]")


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """A GIN index of the trigrams, if the extension is there or could be made."""
    there = EXTENSION in around.catalog.extensions
    if not there and EXTENSION not in around.catalog.available:
        return
    for one in scan.by("like", "ilike", "regex"):
        if _fits(one):
            first = "" if there else f" (after: create extension {EXTENSION})"
            why = f"finds {one.term.sql} by the letters of the pattern{first}"
            yield Draft((key(one.term, operators="gin_trgm_ops"),), why, one.share, method="gin")


def _fits(one: Condition) -> bool:
    if one.value is None:
        return True
    if one.test == "like" and anchored(one.value):
        return False
    return letters(one.value, regex=one.test == "regex") >= LETTERS_MIN


def letters(pattern: str, *, regex: bool = False) -> int:
    """The longest run of letters that must stand in what is found."""
    return max(len(run) for run in (_SPECIAL if regex else _WILD).split(pattern))


KIND = Kind("trigram", drafts)
