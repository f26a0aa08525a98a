"""What an index needs before it can be built: an extension, or proof that values are all different."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.kinds.trigram import EXTENSION
from tercet.sql import Expression, identifier

if TYPE_CHECKING:
    from tercet.advisor.catalog import Catalog
    from tercet.sql import Index

_TRIGRAMS = frozenset({"gin_trgm_ops", "gist_trgm_ops"})


def extensions(index: Index, catalog: Catalog) -> tuple[str, ...]:
    """The statements that make what the index rests on and the database does not have yet."""
    asked = any(key.operators in _TRIGRAMS for key in index.keys)
    return (
        (f"create extension if not exists {identifier(EXTENSION)}",)
        if asked and EXTENSION not in catalog.extensions
        else ()
    )


def doubles(index: Index) -> str:
    """The statement that answers one row if the index could not be unique; it reads the whole table."""
    keys = [f"({key.of.sql})" if isinstance(key.of, Expression) else identifier(key.of) for key in index.keys]
    rows = " and ".join([*(f"{key} is not null" for key in keys), *([f"({index.where})"] if index.where else [])])
    columns = ", ".join(keys)
    # Names are quoted, and expressions are the index's own.
    return f"select {columns} from {index.qualified_table} where {rows} group by {columns} having count(*) > 1 limit 1"  # noqa: S608
