"""A rollup as SQL that makes it without tercet: for a revision that somebody else runs, on another day."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.rollups.blocks import blocks
from tercet.rollups.kept.build import check_types, checked, located, lock, stored_indexes
from tercet.rollups.kept.ranges import RANGE_ROWS, plainly
from tercet.rollups.kept.statements import (
    NULLS_NOT_DISTINCT_MAJOR,
    Statements,
    definition,
    drops,
    functions_of,
    kept_table,
    names_of,
    probes,
)
from tercet.rollups.relation import mark_of
from tercet.sql import identifier, literal
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from tercet.migrations import Connection, Database
    from tercet.rollups.kept.rollup import Rollup
    from tercet.sql import Index

# Its file of statements.
SCRIPT = ("tercet.rollups.kept", "script.sql")


@dataclass(frozen=True, slots=True)
class RollupScript:
    """The statements in their order; each is one transaction. What they make is what create_rollup makes.

    `served` asks whether an index is in the order of the first key: then it is filled range by range, each from
    <low> to <high>, which `following` finds; else all at once. `state` tells how far it was filled.
    """

    name: str
    place: str
    # The index of its groups' key.
    key: str
    make: str
    state: str
    served: str
    following: str
    fill: str
    finish: str
    indexes: tuple[Index, ...]
    drop: tuple[str, ...]


async def script(database: Database, rollup: Rollup) -> RollupScript:
    """How `rollup` is made on a database like this one; only reads. Raises as create_rollup does."""
    rollup = await located(database, rollup)
    async with database.transaction() as connection:
        await connection.exec_driver_sql("set transaction read only")
        facts = await checked(connection, rollup)
        await plainly(connection)
        types = await _types(connection, rollup)
    known = Statements(rollup, {name: one[0] for name, one in types.items()}, facts.major)
    check_types(known, types)
    return _script(known)


async def _types(connection: Connection, rollup: Rollup) -> dict[str, tuple[str, bool, bool]]:
    names = [*rollup.keys, *rollup.stored.values()]
    asked = ", ".join(f"pg_typeof(x.{identifier(name)})::oid::bigint" for name in names)
    sql = blocks(*SCRIPT)
    text = sql["asked_types"].format_map({**names_of(rollup), "types_of": asked})
    oids = list((await connection.exec_driver_sql(text)).all()[0])
    rows = (await connection.exec_driver_sql(sql["known_types"], (oids,))).all()
    return {name: (kind, foreign, array) for name, (kind, foreign, array) in zip(names, rows, strict=True)}


def _script(known: Statements) -> RollupScript:
    rollup, sql = known.rollup, blocks(*SCRIPT)
    probe, probe_index = probes(rollup)
    parent = [rollup.parent.table] if rollup.parent else []
    tables = [literal(identifier(one)) for one in (rollup.table, *parent)]
    mark = mark_of(definition(rollup))
    words = {
        "lock": literal(lock(rollup.name)),
        "name": literal(rollup.qualified),
        "nulls_not_distinct": str(known.major >= NULLS_NOT_DISTINCT_MAJOR).lower(),
        "memory": blocks("tercet.rollups", "memory.sql")["table"],
        "kept": identifier(rollup.place),
        "kept_literal": literal(identifier(rollup.place)),
        "table_literal": tables[0],
        "tables": ", ".join(f"to_regclass({one})" for one in tables),
        "mark": literal(mark),
        "probe": probe,
        "probe_index": probe_index,
        "kept_table": kept_table(rollup),
        "types": literal(", ".join(f"{name} {kind}" for name, kind in known.types.items())),
        "statements": ";\n".join((*known.kept(), *known.functions(), *_revoked(rollup))),
        "owned": _array([f"table {identifier(one)}" for one in _tables(rollup)] + [
            f"routine {identifier(rollup.beside(one))}" for one in functions_of(rollup)
        ]),
        "last_trigger": literal(table_parts(rollup.beside("truncate"))[-1]),
        "triggers": _array([*known.triggers("<table>")]),
        "function_replace": identifier(rollup.beside("replace")),
        "function_next": identifier(rollup.beside("next")),
        "type": known.types[rollup.first],
        "rows": str(RANGE_ROWS),
        "view": known.view(),
        "first_column": literal(rollup.first_column or ""),
    }  # fmt: skip
    words["readers"] = " intersect ".join(sql["readers"].format_map({"table_literal": one}) for one in tables)
    return RollupScript(
        rollup.qualified,
        identifier(rollup.place),
        identifier(rollup.beside("kept_key")),
        indexes=tuple(stored_indexes(rollup)),
        drop=(*drops(rollup.name), sql["forget"].format_map(words)),
        make=_filled(sql["make"], words),
        fill=_filled(sql["fill"], words),
        finish=_filled(sql["finish"], words),
        state=sql["state"].format_map(words),
        served=sql["served"].format_map(words),
        following=sql["next"].format_map(words),
    )


def _filled(block: str, words: dict[str, str]) -> str:
    """The block, its text quoted by a word that does not occur in it."""
    text = block.format_map({**words, "tag": "\0"})
    digits = hashlib.sha256(text.encode()).hexdigest()[:16]
    return text.replace("\0", f"$tercet_{digits}$")


def _tables(rollup: Rollup) -> list[tuple[str, ...]]:
    return [table_parts(one) for one in (rollup.place, *([rollup.log] if rollup.way == "delta" else []))]


def _revoked(rollup: Rollup) -> list[str]:
    return [f"revoke all on routine {identifier(rollup.beside(one))} from public" for one in functions_of(rollup)]


def _array(texts: list[str]) -> str:
    return f"array[{', '.join(literal(one) for one in texts)}]"
