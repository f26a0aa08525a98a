"""A table as it is, compared with the columns that an entity takes from it."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from tercet.errors import ExtraMissing
from tercet.router.checking.finding import Finding, fits, found
from tercet.sql import identifier

try:
    from sqlalchemy import text
except ImportError as error:
    raise ExtraMissing("A check of postgres(…)", module="sqlalchemy", extra="postgres") from error

if TYPE_CHECKING:
    from tercet.router.plan import Field, Source
    from tercet.router.port import Postgres
    from tercet.router.source import InTable


async def check_table(database: Postgres, source: Source) -> list[Finding]:
    """What the entity declares of this table and the table does not have."""
    declared = cast("InTable", source.declared)
    schema = (declared.table.schema,) if declared.table.schema else ()
    name = {"name": identifier(*schema, declared.table.name)}
    entity = source.fields[0].entity
    async with database.transaction() as connection:
        if (await connection.execute(_STATEMENTS["table"], name)).scalar() is None:
            says = "there is no such table."
            return [Finding("error", entity, source.name, says, "Create it, or correct the model's __tablename__.")]
        rows = (await connection.execute(_STATEMENTS["columns"], name)).all()
        by = {**name, "column": declared.key.name}
        unique = (await connection.execute(_STATEMENTS["indexes"], by)).first()
    columns = {row[0]: tuple(row)[1:] for row in rows}
    findings = [one for field in source.fields for one in _of_field(field, source, columns)]
    return findings + _of_key(source, columns, unique)


def _of_field(field: Field, source: Source, columns: dict[str, Any]) -> list[Finding]:
    name = str(cast("InTable", field.declared).column.name)
    column = columns.get(name)
    if column is None:
        return [
            found("error", field, source.name, f"is the column {name!r}, which is not there.", "Run the migrations.")
        ]
    kind, category, not_null = column
    findings = []
    if not fits(field.type, category):
        says = f"is declared as {getattr(field.type, '__name__', field.type)}, and the column {name!r} is {kind}."
        findings.append(found("error", field, source.name, says, "Correct the annotation, or the column."))
    if not not_null and not field.optional:
        says = f"may not be None, and the column {name!r} may be NULL."
        findings.append(found("warning", field, source.name, says, "Annotate it with '| None', or SET NOT NULL."))
    return findings


def _of_key(source: Source, columns: dict[str, Any], unique: Any) -> list[Finding]:
    key, entity = cast("InTable", source.declared).key.name, source.fields[0].entity
    if key not in columns:
        return [Finding("error", entity, source.name, f"its key {key!r} is not there.", "Run the migrations.")]
    if unique is None:
        says = f"no index begins with its key {key!r}, so each load reads the whole table."
        return [Finding("error", entity, source.name, says, f"Create a unique index on {key}.")]
    if not unique[0]:
        says = f"its key {key!r} is not unique, and a key with several rows fails."
        return [Finding("warning", entity, source.name, says, f"Make the index on {key} unique.")]
    return []


def _statements() -> dict[str, Any]:
    """The statements of postgres_schema.sql by their names."""
    written = files("tercet.router.checking").joinpath("postgres_schema.sql").read_text(encoding="utf-8")
    _, *parts = written.split("-- name: ")
    named = (part.partition("\n") for part in parts)
    return {name.strip(): text(body.strip()) for name, _, body in named}


_STATEMENTS = _statements()
