"""The triggers of the fallback: what installs them, what each table has of them, and what takes them away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.changes.setup.step import Problem, Step
from tercet.changes.setup.written import written
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Collection

    from tercet.changes.setup.findings import Findings, Table

_SQL = "fallback/triggers.sql"

_MADE = ("schema", "changes", "changes_xid", "places", "gate", "row_changed", "rows_added", "rows_removed", "emptied")
_TAKEN = ("uninstall", "uninstall_gate", "uninstall_functions")

# What a table gets, by whether it is partitioned. A statement's trigger writes all rows of the statement at once; an
# UPDATE's old and new rows are only known to belong together row by row.
_PLAIN = ("insert", "delete", "update", "truncate")
_PARTITIONED = ("rows", "truncate")
_BLOCKS = {"rows": "on_any"}
_EVERY = ("insert", "delete", "update", "rows", "truncate")

_FIRST = "Locks nothing that is there."
_WAITS = (
    "SHARE ROW EXCLUSIVE on {table} for a moment: who writes waits for it, and it for who has written and not yet "
    "ended; nobody who reads waits."
)


def change_table(findings: Findings) -> tuple[Step, ...]:
    """What makes the change table, where it is not there yet."""
    if findings.server.change_table:
        return ()
    blocks = written(_SQL)
    return (Step("the table of changes", tuple(blocks[name] for name in _MADE), _FIRST),)


def installed(table: Table, columns: Collection[str] | None) -> tuple[Step, ...] | Problem:
    """What makes the triggers tell these columns of the table, and those that they tell already; nothing if they do."""
    if table.form not in {"table", "partitioned", "unlogged"}:
        return Problem(str(table), f"a {table.form} table has no triggers that last", "Follow an ordinary table.")
    unknown = frozenset(columns or ()) - frozenset(table.columns)
    if unknown:
        return Problem(str(table), f"there is no column {', '.join(sorted(unknown))}", "Correct the name; case counts.")
    names = _PARTITIONED if table.form == "partitioned" else _PLAIN
    unwanted = frozenset(table.columns) - frozenset(columns) - frozenset(table.primary) if columns else frozenset[str]()
    present = {trigger.removeprefix("tercet_feed_") for trigger in table.triggers}
    if present:
        unwanted &= frozenset(table.silent)
    if present >= set(names) and unwanted == frozenset(table.silent) & frozenset(table.columns):
        return ()
    arguments = ", ".join(_literal(one) for one in (*table.place, *sorted(unwanted)))
    statements = [_drop(table, name) for name in _EVERY if name in present]
    for name in names:
        block = written(_SQL)[_BLOCKS.get(name, f"on_{name}")]
        statements.append(block.format(table=identifier(table.place), arguments=arguments))
        statements.append(_filled("enable", table, name))
    return (Step(f"triggers that tell the changes of {table}", tuple(statements), _WAITS.format(table=table)),)


def uninstall(findings: Findings) -> tuple[Step, ...]:
    """What takes all of it away: the triggers of the tables that were found, and the change table with what is in it.

    The schema stays, for it may hold more. While a table that was not looked at still has such triggers, PostgreSQL
    refuses the last step.
    """
    steps = [
        Step(
            f"take the triggers of {table} away",
            tuple(_drop(table, trigger.removeprefix("tercet_feed_")) for trigger in table.triggers),
            "ACCESS EXCLUSIVE on it for a moment.",
        )
        for table in findings.tables.values()
        if table.triggers
    ]
    if findings.server.change_table:
        blocks = written(_SQL)
        steps.append(Step("take the table of changes away", tuple(blocks[name] for name in _TAKEN), _FIRST))
    return tuple(steps)


def _drop(table: Table, name: str) -> str:
    return _filled("drop", table, name)


def _filled(block: str, table: Table, name: str) -> str:
    return written(_SQL)[block].format(table=identifier(table.place), trigger=f"tercet_feed_{name}")


def _literal(text: str) -> str:
    """A text as a literal that means the same under every setting."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
