"""An index that might help, before anybody has tried it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.sql import Expression
from tercet.sql.identifier import NAME_BYTES_MAX, table_parts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tercet.sql import Index

# Eight hexadecimal digits tell apart what is cut to the same beginning.
_DIGITS = 8
# Where tables are unless somebody has said otherwise.
_USUAL = "public"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index with the reason for which it was thought of; its table is (schema, name).

    `queries` are the fingerprints of those it was thought of for; others may use it too. `replaces` names indexes
    that are there and that it would make needless.
    """

    index: Index
    # Which file of candidates/ has made it.
    kind: str
    why: str
    queries: frozenset[str]
    replaces: tuple[str, ...] = ()
    # What it does for each of these, where that is not the same for all.
    reasons: tuple[tuple[str, str], ...] = ()
    # Whether a statement is to read its first rows only, in this order.
    ordered: bool = False

    def why_for(self, queries: Iterable[str]) -> str:
        """What it does for the first of these that it was thought of for."""
        known = dict(self.reasons)
        return next((known[query] for query in queries if query in known), self.why)

    @property
    def name(self) -> str:
        """What engines know it by; unique among candidates, and the name that is proposed to the user."""
        return self.index.name


def plain(candidate: Candidate) -> Candidate:
    """The same index without the rule that its values differ."""
    index = replace(candidate.index, unique=False)
    return replace(candidate, index=replace(index, name=index_name(index)))


def index_name(index: Index) -> str:
    """The name that an index gets by what it is: "orders_user_id_total_idx", told apart where that is too long.

    Two indexes that differ have two names, since whatever the columns do not say goes into a few digits: a schema
    other than public too, for tables of one name may stand in several.
    """
    *schema, table = table_parts(index.table)
    words = [key.of if isinstance(key.of, str) else "expr" for key in index.keys]
    plain = (
        index.method == "btree" and not index.include and index.where is None and not index.unique
        and all(not isinstance(key.of, Expression) and not key.ordered for key in index.keys)
        and all(key.operators is None and key.collation is None for key in index.keys)
        and schema in ([], [_USUAL])
    )  # fmt: skip
    stem = "_".join((table, *words))
    if plain and len(stem.encode()) + len("_idx") <= NAME_BYTES_MAX:
        return f"{stem}_idx"
    keys = ", ".join(key.sql() for key in index.keys)
    essence = f"{table_parts(index.table)} {index.unique} {index.method} {keys} {index.include} {index.where}"
    digits = hashlib.sha256(essence.encode()).hexdigest()[:_DIGITS]
    room = NAME_BYTES_MAX - len(f"_{digits}_idx")
    return f"{stem.encode()[:room].decode(errors='ignore')}_{digits}_idx"
