"""One observation of a statement: its text, and how often and how long it was asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tercet.advisor.marked import MARK
from tercet.advisor.workload.literals import filled, literal
from tercet.errors import SqlInvalid
from tercet.sql import Statement
from tercet.sql.tree import parse, write

# A longer text is a bulk load in disguise; nothing is learnt from planning it, and reading it takes long.
STATEMENT_CHARS_MAX = 100_000

# What advice can be given of. `select` holds WITH, VALUES and TABLE.
KINDS = frozenset({"select", "insert", "update", "delete", "merge"})

# A statement that another one carries, and what carries it.
_CARRIERS = frozenset({"explain", "declare cursor", "copy", "prepare"})

_VALUE = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")


@dataclass(frozen=True, slots=True)
class Asked:
    """A text with what somebody has counted of it.

    `twice` is set for what another line of the same source may tell again (auto_explain beside the log of
    durations): of the two counts the greater one holds.
    """

    sql: str
    calls: float = 1.0
    # Milliseconds and rows of all calls together.
    ms: float | None = None
    rows: float | None = None
    label: str = ""
    sites: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ()
    twice: bool = False
    # The values of $1, $2 … as a log writes them ("$1 = '5', $2 = NULL"): read only for the few texts that are kept.
    values: str = ""

    @property
    def text(self) -> str:
        """The statement with its values put in."""
        if not self.values:
            return self.sql
        found = _VALUE.findall(self.values)
        return filled(
            self.sql,
            {int(n): "null" if text == "NULL" else literal(text[1:-1].replace("''", "'")) for n, text in found},
        )


def meant(sql: str) -> Statement | str:
    """The statement to be looked at in a text, or why there is none: "" for what nobody misses (BEGIN, SET, VACUUM).

    What EXPLAIN, DECLARE, PREPARE or COPY (…) TO carry is looked at instead of them.
    """
    if MARK in sql:
        return ""
    if len(sql) > STATEMENT_CHARS_MAX:
        return f"it is longer than {STATEMENT_CHARS_MAX:,} characters"
    try:
        statement = Statement(sql)
        if statement.kind in _CARRIERS:
            carried = parse(statement.text).tree("query")
            if carried is None:
                return ""
            statement = Statement(write(carried))
    except SqlInvalid as error:
        return error.says
    if statement.kind not in KINDS or not statement.tables or all(_of_the_server(name) for name in statement.tables):
        return ""
    return statement


def _of_the_server(table: str) -> bool:
    return table.startswith(("pg_", "pg_catalog.", "information_schema."))
