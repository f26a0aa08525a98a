"""Filters, finds and pipelines as a person gives them: Python documents, or files of extended JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bson import json_util

from tercet.advisor.mongo.workload.folding import Seen, command_of, fold, several
from tercet.errors import DocumentInvalid, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tercet.advisor.mongo.shape import Document, MongoWorkload

_WANTED = (
    'Give {"aggregate": "orders", "pipeline": […]}, {"find": "orders", "filter": {…}, "sort": {…}}, a list of such, '
    "or a pipeline alone and the name of its collection."
)
# A person's file of questions; a log is read by from_log.
_FILE_BYTES_MAX = 16 << 20
_OPTIONS = json_util.JSONOptions(tz_aware=True)


def from_specs(specs: Sequence[Document] | Document, *, collection: str = "", source: str = "given") -> MongoWorkload:
    """The queries of these documents; `collection` is where a pipeline reads that does not say it.

    A list of stages is one pipeline. `label`, `calls` and `ms` beside a command say how it is called, how often it is
    asked and how long it takes. Raises DocumentInvalid.
    """
    given: list[Any] = [specs] if isinstance(specs, Mapping) else list(specs)
    if given and all(str(next(iter(one), "")).startswith("$") for one in given if isinstance(one, Mapping)):
        given = [{"pipeline": given}]
    return fold(_seen(given, collection), source)


def from_files(paths: Iterable[Path], *, collection: str = "") -> MongoWorkload:
    """The queries of these files, of extended JSON each: one document, or a list. Raises UsageError."""
    seen: list[Seen] = []
    names = []
    for path in paths:
        names.append(path.name)
        inner = from_specs(_read(path), collection=collection)
        for query in inner.queries:
            label = path.stem if len(inner.queries) == 1 else query.label
            seen += [Seen(one, query.ms, query.calls / len(query.examples), label) for one in query.examples]
    return fold(seen, ", ".join(names))


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            raise UsageError(f"{path} is too large for a file of queries.", "A log of the server is given as a log.")
        return json_util.loads(path.read_text(encoding="utf-8"), json_options=_OPTIONS)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Name a file of extended JSON.") from error
    except (ValueError, TypeError) as error:
        raise DocumentInvalid(f"extended JSON ({path})", reason=str(error), mend=_WANTED) from error


def _seen(given: Iterable[Any], collection: str) -> Iterable[Seen]:
    for number, told in enumerate(given, 1):
        if not isinstance(told, Mapping):
            raise DocumentInvalid("a query of MongoDB", reason=f"entry {number} is no document", mend=_WANTED)
        for one in several(told):
            command = command_of(one, collection=collection)
            if command is None:
                raise DocumentInvalid("a query of MongoDB", reason=f"entry {number} says neither what is asked "
                                      "nor of which collection", mend=_WANTED)  # fmt: skip
            ms = told.get("ms")
            yield Seen(command, None if ms is None else float(ms), float(told.get("calls", 1)),
                       str(told.get("label", "")))  # fmt: skip
