"""The types of a statement's parameters, asked of the server by PREPARE, and values for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from tercet.advisor.together import about, together
from tercet.advisor.workload.classes import examples
from tercet.advisor.workload.literals import askable, parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.query import Query, Workload
    from tercet.sql.port import Database

# PREPARE parses and looks names up; it neither plans nor runs.
_SECONDS = 5.0
_NAME = "tercet_types"
_TYPES = "select array_to_string(p.parameter_types, '|') from pg_prepared_statements p where p.name = 'tercet_types'"

# The types of a text's parameters by their numbers; None where the server refuses it.
_Types: TypeAlias = Mapping[int, str] | None
# A text, and the schemas that its names are looked for in.
_Asked: TypeAlias = tuple[str, tuple[str, ...]]


async def with_values(database: Database, workload: Workload, catalog: Catalog) -> Workload:
    """The workload with values in place of $1, $2 … wherever the statistics or the types give some.

    Only statements that read are prepared; of the others the columns alone tell the types, for the server would
    lock their tables. `database` may be any with the same tables. Values that the server refuses are not in what
    comes out of a PREPARE; those statements stay generic.
    """
    open_ = {at: query for at, query in enumerate(workload.queries) if any(parameters(e.sql) for e in query.examples)}
    types = await _types(database, [(_text(query), query.search_path) for query in open_.values() if query.reading])
    made: dict[int, Query] = {}
    guesses: dict[int, Query] = {}
    for at, query in open_.items():
        known = types.get((_text(query), query.search_path)) if query.reading else {}
        made[at] = replace(query, examples=examples(query, catalog, known or {}))
        if query.reading and not known and any(one.origin == "generic" for one in made[at].examples):
            # With a number wherever nothing is known of a place ("then $1 else $2"), if the server takes it so.
            guesses[at] = replace(query, examples=examples(query, catalog, otherwise="1"))
    texts = [(one.sql, query.search_path) for query in guesses.values() for one in query.examples]
    taken = await _types(database, texts)
    made |= {
        at: query
        for at, query in guesses.items()
        if all(taken.get((one.sql, query.search_path)) is not None for one in query.examples)
    }
    return replace(workload, queries=tuple(made.get(at, query) for at, query in enumerate(workload.queries)))


async def parameter_types(database: Database, query: Query) -> Mapping[int, str]:
    """The types of $1, $2 … by their numbers, as the server understands them; none for what it refuses."""
    asked = (_text(query), query.search_path)
    return (await _types(database, [asked]))[asked] or {}


def _text(query: Query) -> str:
    return askable(next(one.sql for one in query.examples if parameters(one.sql)))


async def _types(database: Database, asked: Sequence[_Asked]) -> dict[_Asked, _Types]:
    """The types of each text's parameters, with the schemas that it is read with."""
    found: dict[_Asked, _Types] = dict.fromkeys(asked)
    for path in dict.fromkeys(path for _, path in asked):
        questions = {sql: about(_NAME, sql, _TYPES) for sql, one in found if one == path}
        sent = {sql: question for sql, question in questions.items() if question is not None}
        told = await together(database, list(sent.values()), within=_SECONDS, search_path=path)
        found |= {(sql, path): _read(text) for sql, text in zip(sent, told, strict=True)}
    return found


def _read(told: str | None) -> _Types:
    if told is None:
        return None
    return {number: name for number, name in enumerate(told.split("|"), 1) if name and name != "unknown"}
