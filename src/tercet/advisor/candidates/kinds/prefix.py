"""Prefix: a pattern that begins with letters, walked as a range where the collation compares byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import KEYS_MAX, Draft, Kind, joint, key, keys, terms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan, Term
    from tercet.advisor.catalog import Catalog

# The operator classes that compare byte by byte, by type; a type with a length in brackets counts as without.
_CLASSES = {"text": "text_pattern_ops", "character varying": "varchar_pattern_ops", "character": "bpchar_pattern_ops"}
_BYTEWISE = frozenset({"C", "POSIX", "ucs_basic", "pg_c_utf8", "pg_unicode_fast"})


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """The column behind the equalities, in byte order; plainly where its collation is that of the bytes."""
    for one in scan.by("like"):
        if one.value is not None and not anchored(one.value):
            continue
        operators = _class(one.term, around.catalog)
        last = key(one.term, operators=operators)
        lead = keys(terms(each for each in scan.equal if each.term.of != one.term.of))[: KEYS_MAX - 1]
        why = f"walks the range of {one.term.sql} that begins with the pattern's letters"
        yield Draft((*lead, last), why, joint(scan.equal, lead) * one.share)


def anchored(pattern: str) -> bool:
    """Whether a LIKE pattern begins with a letter."""
    return bool(pattern) and pattern[0] not in "%_"


def _class(term: Term, catalog: Catalog) -> str | None:
    collation = (term.column.collation if term.column is not None else None) or catalog.settings.get("lc_collate", "")
    if collation in _BYTEWISE:
        return None
    written = term.column.type if term.column is not None else "text"
    return _CLASSES.get(written.partition("(")[0], "text_pattern_ops")


KIND = Kind("prefix", drafts)
