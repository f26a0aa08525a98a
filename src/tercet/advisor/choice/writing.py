"""What an index costs those who write: entries to be made, and updates that cannot stay on their page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor.choice.chosen import WriteCost
from tercet.sql.identifier import table_parts
from tercet.sql.tree import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tercet.advisor.catalog import Catalog, Table
    from tercet.advisor.query import Query
    from tercet.sql import Index, Tree

# Microseconds, measured on PostgreSQL 18 over 200,000 rows beside a million, without what a commit waits for the disk.
# A row of 200 bytes in a table without indexes.
ROW_US = 2.0
# Its entry in an index, by method; a text of 65 bytes makes a b-tree's dearer, few values make it cheaper.
ENTRY_US = {"btree": 2.0, "hash": 1.7, "brin": 0.05, "gin": 9.0, "gist": 9.0, "spgist": 4.0}
WIDE_US, WIDE_BYTES = 1.5, 32
# An entry at the end finds its page at hand; one anywhere has to fetch it, once the index does not fit into memory.
FETCH_US = 2.4
# From here on, new rows come at the end of the index.
_GROWING = 0.95


@dataclass(frozen=True, slots=True)
class _Written:
    """What is written to one table while the workload runs once."""

    inserted: float = 0.0
    updated: float = 0.0
    # Updates by column, as far as the statements show them.
    columns: Mapping[str, float] = field(default_factory=dict)
    # The statements that set each column, by fingerprint.
    setters: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Writes:
    """Knows what is written to each table, from the workload's statements and the tables' counters.

    `window` is over how many seconds the calls of the workload were counted. With it, the counters of the tables
    speak; without it, only those statements of the workload that write.
    """

    def __init__(self, catalog: Catalog, queries: Sequence[Query], window: float | None) -> None:
        self._catalog = catalog
        self._window = window
        self._statements = _read(queries)

    def ms(self, index: Index, size_bytes: int) -> float:
        """What writers pay for this index while the workload runs once."""
        table = self._table(index)
        written = self._written(index, table)
        entry = self._entry(index, table, size_bytes)
        hot = self._hot(index, table, written)
        return (written.inserted * entry + hot) / 1e3

    def cost(self, index: Index, size_bytes: int) -> WriteCost:
        """The same as it is told: in percent of a written row's work, and in time."""
        table = self._table(index)
        entry = self._entry(index, table, size_bytes)
        others = sum(
            self._entry(one.index, table, one.size_bytes) for one in (table.indexes if table else ()) if one.valid
        )
        setters = self._setters(index, table)
        activity = table.activity if table else None
        a_second, note = None, ""
        if activity is not None and activity.seconds > 0:
            lost = activity.hot_updated if setters else 0
            entries = activity.inserted + activity.updated - activity.hot_updated + lost
            a_second = entries * entry / activity.seconds / 1e3
        if activity is not None and activity.hot_updated and not self._sets(index):
            note = "which columns its updates set is not in the workload"
        return WriteCost(100.0 * entry / (ROW_US + others), a_second, tuple(sorted(setters)), note)

    def _table(self, index: Index) -> Table | None:
        *schema, name = table_parts(index.table)
        return self._catalog.find(name, schema[0] if schema else None)

    def _written(self, index: Index, table: Table | None) -> _Written:
        said = self._statements.get(table_parts(index.table)[-1], _Written())
        activity = table.activity if table else None
        if self._window is None or activity is None or activity.seconds <= 0:
            return said
        share = self._window / activity.seconds
        staying = activity.updated - activity.hot_updated
        return _Written((activity.inserted + staying) * share, activity.updated * share, said.columns, said.setters)

    def _entry(self, index: Index, table: Table | None, size_bytes: int) -> float:
        """Microseconds of one entry."""
        took = ENTRY_US.get(index.method, ENTRY_US["btree"])
        if index.method != "btree" or table is None:
            return took
        widths, growing = 0.0, False
        for number, name in enumerate((*(key.of for key in index.keys), *index.include)):
            column = table.column(name) if isinstance(name, str) else None
            statistics = column.statistics if column else None
            widths += statistics.width if statistics else 8.0
            if number == 0 and statistics and (statistics.correlation or 0.0) >= _GROWING:
                growing = True
        took += WIDE_US if widths > WIDE_BYTES else 0.0
        buffers = float(self._catalog.settings.get("shared_buffers", "16384")) * 8192
        missed = 0.0 if growing else max(1.0 - buffers / max(size_bytes, 1), 0.0)
        return took + missed * FETCH_US

    def _hot(self, index: Index, table: Table | None, written: _Written) -> float:
        """Microseconds that updates pay which could stay on their page before: an entry in every index of the table."""
        if table is None:
            return 0.0
        indexed = _columns(index)
        taken = {name for one in table.indexes if one.valid for name in _columns(one.index)}
        lost = sum(often for name, often in written.columns.items() if name in indexed and name not in taken)
        entries = sum(self._entry(one.index, table, one.size_bytes) for one in table.indexes if one.valid)
        return lost * (entries + self._entry(index, table, 0))

    def _setters(self, index: Index, table: Table | None) -> set[str]:
        said = self._statements.get(table_parts(index.table)[-1], _Written())
        taken = {name for one in (table.indexes if table else ()) if one.valid for name in _columns(one.index)}
        return {who for name in _columns(index) - taken for who in said.setters.get(name, ())}

    def _sets(self, index: Index) -> bool:
        return bool(self._statements.get(table_parts(index.table)[-1], _Written()).columns)


def _columns(index: Index) -> set[str]:
    plain = {key.of for key in index.keys if isinstance(key.of, str)}
    # BRIN does not stand in the way of staying on the page since PostgreSQL 16; before, it is the dearer guess.
    return plain | set(index.include)


def _read(queries: Sequence[Query]) -> dict[str, _Written]:
    """What the workload's own statements write, by the table's name."""
    inserted: dict[str, float] = {}
    updated: dict[str, float] = {}
    columns: dict[str, dict[str, float]] = {}
    setters: dict[str, dict[str, set[str]]] = {}
    for query in queries:
        if not query.statement.writes:
            continue
        often = query.calls * max(query.rows or 1.0, 1.0)
        for tree in parse(query.sql).walk():
            relation = tree.tree("relation")
            name = relation.text("relname") if relation is not None else ""
            if tree.kind == "InsertStmt":
                inserted[name] = inserted.get(name, 0.0) + often
            for column in _set_columns(tree):
                updated[name] = updated.get(name, 0.0) + often
                columns.setdefault(name, {})[column] = columns.get(name, {}).get(column, 0.0) + often
                setters.setdefault(name, {}).setdefault(column, set()).add(query.fingerprint)
    return {
        name: _Written(
            inserted.get(name, 0.0),
            updated.get(name, 0.0),
            columns.get(name, {}),
            {column: frozenset(who) for column, who in setters.get(name, {}).items()},
        )
        for name in {*inserted, *updated}
    }


def _set_columns(tree: Tree) -> Iterable[str]:
    """The columns that an UPDATE sets, or an INSERT where the row is there already."""
    if tree.kind == "UpdateStmt":
        return [target.text("name") for target in tree.trees("target_list")]
    conflict = tree.tree("on_conflict_clause") if tree.kind == "InsertStmt" else None
    return [] if conflict is None else [target.text("name") for target in conflict.trees("target_list")]
