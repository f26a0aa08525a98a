"""A collection as it is, compared with what an entity takes from its documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tercet.errors import ExtraMissing, FieldMismatch
from tercet.router.checking.finding import Finding, found
from tercet.router.reading.mongo_documents import keys_in, projection, taken

try:
    from bson import Int64
except ImportError as error:
    raise ExtraMissing("A check of mongo(…)", module="bson", extra="mongo") from error

if TYPE_CHECKING:
    from tercet.router.plan import Source
    from tercet.router.port import Mongo
    from tercet.router.source import InDocument

# Documents that are read to see whether they can be: enough to meet what is usual, few enough for any server.
SAMPLE_DOCUMENTS = 50


async def check_collection(database: Mongo, source: Source) -> list[Finding]:
    """What the entity declares of this collection and a sample of its documents does not have."""
    declared = cast("InDocument", source.declared)
    entity = source.fields[0].entity
    collection: Any = database[declared.collection]
    if await collection.find_one({}, {"_id": 1}) is None:
        says = "there is no such collection, or it is empty."
        return [Finding("warning", entity, source.name, says, "Correct its name if documents should be there.")]
    findings = _of_index(source, await collection.index_information())
    sample = await collection.aggregate([{"$sample": {"size": SAMPLE_DOCUMENTS}}, *_project(source)])
    documents = await sample.to_list()
    return [*findings, *_of_keys(source, documents), *_of_sample(source, documents)]


def _project(source: Source) -> list[dict[str, Any]]:
    wanted = projection(source)
    return [] if wanted is None else [{"$project": wanted}]


def _of_index(source: Source, indexes: dict[str, Any]) -> list[Finding]:
    on, entity = cast("InDocument", source.declared).on, source.fields[0].entity
    # A partial index serves only who asks for its condition too; a sparse one is fine for keys that are there.
    first = [one for one in indexes.values() if one["key"][0][0] == on and "partialFilterExpression" not in one]
    if not first:
        says = f"no index begins with {on!r}, so each load reads the whole collection (COLLSCAN)."
        return [Finding("error", entity, source.name, says, f"Create a unique index on {on}.")]
    if on != "_id" and not any(one.get("unique") and len(one["key"]) == 1 for one in first):
        says = f"{on!r} is not unique, and a key with several documents fails."
        return [Finding("warning", entity, source.name, says, f"Make the index on {on} unique.")]
    return []


def _of_keys(source: Source, documents: list[dict[str, Any]]) -> list[Finding]:
    """MongoDB finds no number by a text, and says nothing of it: every load would be without its documents."""
    on, entity = cast("InDocument", source.declared).on, source.fields[0].entity
    wanted = source.conversion or source.fields[0].key
    if not isinstance(wanted, type):
        # What a function makes, only a load would tell.
        return []
    kinds = {type(key) for document in documents for key in keys_in(document, on) if key is not None}
    strange = sorted(kind.__name__ for kind in kinds if not issubclass(kind, wanted))
    # Numbers are equal across MongoDB's types.
    if not strange or (wanted is int and kinds <= {int, float, Int64}):
        return []
    says = f"{on!r} holds {', '.join(strange)}, and is asked for by {wanted.__name__}: such documents are never found."
    return [Finding("error", entity, source.name, says, f"Convert the key where it is declared: key={strange[0]}.")]


def _of_sample(source: Source, documents: list[dict[str, Any]]) -> list[Finding]:
    findings: dict[str, Finding] = {}
    for document in documents:
        for field, raw in zip(source.fields, taken(source, document), strict=False):
            try:
                field.value(raw, source.name)
            except FieldMismatch as error:
                says = f"cannot be made of every document: {error.reason}."
                mend = "Correct the documents, or the type of the field."
                findings.setdefault(field.name, found("error", field, source.name, says, mend))
    return list(findings.values())
