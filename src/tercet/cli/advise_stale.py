"""Whether a piece of advice still holds for a database that was looked at again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates import housekeeping
from tercet.advisor.candidates.same import serves
from tercet.cli.advise_views import keeping
from tercet.errors import AdviceStale
from tercet.rollups import Rollup
from tercet.sql import Index, View
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from tercet.advisor import Advice, Catalog, Piece
    from tercet.advisor.catalog import Standing, Table


def check(piece: Piece, advice: Advice, catalog: Catalog, *, same: bool) -> str:
    """What is there already, or "" if there is something to do. Raises AdviceStale where it does not hold.

    `same` says that nothing else has changed since the advice was given.
    """
    if not isinstance(piece.value, Index):
        return ""
    index = piece.value
    table = _table(index, catalog)
    there = next((one for one in table.indexes if one.index.name == index.name), None) if table is not None else None
    if piece.kind == "drop_index":
        if there is None:
            return f"the index {index.name} is gone already"
        _droppable(piece, there, advice, catalog, same=same)
        return ""
    if table is None:
        raise AdviceStale(f"there is no table {'.'.join(table_parts(index.table))}")
    known = {column.name for column in table.columns}
    gone = [one for one in (*_plain(index), *index.include) if one not in known]
    if gone:
        raise AdviceStale(f"the table {table.name[1]} has no column {gone[0]}")
    if there is not None:
        # The build itself compares the two.
        return ""
    other = next((one for one in table.indexes if one.valid and serves(one.index, index)), None)
    return f"the index {other.index.name} does this already" if other is not None else ""


def _droppable(piece: Piece, there: Standing, advice: Advice, catalog: Catalog, *, same: bool) -> None:
    name = there.index.name
    if there.index != piece.value:
        raise AdviceStale(f"the index {name} is another one now")
    if there.needed:
        raise AdviceStale(f"something rests on the index {name} now: {_rests(there)}")
    table = _table(there.index, catalog)
    others = [one for one in table.indexes if one is not there and one.valid] if table is not None else []
    if any(serves(one.index, there.index) for one in others):
        return
    if any(one.action == "drop" and one.index == there.index for one in housekeeping(catalog, ())):
        return
    names = {one.index.name for one in others}
    for one in advice.pieces:
        made = isinstance(one.value, Index) and one.kind == "index" and _creates(one) and one.table == piece.table
        if made and isinstance(one.value, Index) and one.value.name not in names:
            raise AdviceStale(f"piece {one.number} may do the work of {name}, and is not there: apply that first")
    if not same:
        raise AdviceStale(f"tables or indexes have changed, so that nobody knows whether {name} is needed")


def _creates(piece: Piece) -> bool:
    return not (piece.ddl and piece.ddl[0].lower().startswith("reindex"))


def _rests(there: Standing) -> str:
    if there.constraint:
        return "a constraint"
    if there.foreign_keys:
        return f"the foreign key {there.foreign_keys[0]}"
    return "replica identity" if there.replica_identity else "CLUSTER"


def made_by(advice: Advice) -> tuple[str, ...]:
    """The names of what the advice makes: that they are there is no change of the database by others."""
    names = []
    for piece in advice.pieces:
        if piece.kind == "index" and isinstance(piece.value, Index) and _creates(piece):
            names.append(piece.value.name)
        if isinstance(piece.value, View) and piece.kind == "view":
            names.append(table_parts(piece.value.name)[-1])
            what = keeping(piece).what
            if isinstance(what, Rollup):
                names += [table_parts(one)[-1] for one in (what.place, what.log)]
    return tuple(names)


def standing(index: Index, catalog: Catalog) -> tuple[Standing, ...]:
    """The indexes that are on its table."""
    table = _table(index, catalog)
    return table.indexes if table is not None else ()


def _table(index: Index, catalog: Catalog) -> Table | None:
    *schema, name = table_parts(index.table)
    return catalog.find(name, schema[0] if schema else None)


def _plain(index: Index) -> list[str]:
    return [key.of for key in index.keys if isinstance(key.of, str)]
