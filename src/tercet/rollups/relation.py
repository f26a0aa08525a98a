"""What stands in the database under the name of a view or a summary, and how ours is known again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tercet.migrations import Connection

# pg_class.relkind: a materialized view, a table, or a view.
Kind = Literal["m", "r", "v"]

_FOUND = """
select c.relispopulated, coalesce(obj_description(c.oid, 'pg_class'), ''), pg_total_relation_size(c.oid)
from pg_class c where c.oid = to_regclass($1) and c.relkind::text = $2
"""

# What REFRESH MATERIALIZED VIEW CONCURRENTLY asks for: unique, of plain columns, over all rows.
_UNIQUE = """
select exists (
    select from pg_index i where i.indrelid = to_regclass($1) and i.indisunique and i.indisvalid and i.indimmediate
      and i.indpred is null and i.indexprs is null
)
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A relation that is there; `mark` is its comment."""

    populated: bool
    mark: str
    size_bytes: int


async def find(connection: Connection, name: str, kind: Kind) -> Found | None:
    """The relation of this quoted name and kind, if there is one."""
    rows = (await connection.exec_driver_sql(_FOUND, (name, kind))).all()
    return Found(*rows[0]) if rows else None


async def unique_index(connection: Connection, name: str) -> bool:
    """Whether it has an index by which its rows can be told apart."""
    return bool((await connection.exec_driver_sql(_UNIQUE, (name,))).all()[0][0])


def mark_of(definition: str) -> str:
    """The comment by which what this has made is known again: PostgreSQL rewrites a definition's own text."""
    return f"tercet sha256:{hashlib.sha256(definition.encode()).hexdigest()}"
