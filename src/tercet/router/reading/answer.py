"""What one source has answered to one query, and the entities that are made of all answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from tercet.errors import FieldMismatch
from tercet.router.outcome import Failed, Loaded, Meta, Missing, Outcome, SourceMeta, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tercet.router.key import Key
    from tercet.router.plan import Source
    from tercet.router.port import Found
    from tercet.router.reading.known import LastKnown

E = TypeVar("E")

Make: TypeAlias = "Callable[[Key, dict[str, object], Meta], E]"


@dataclass(slots=True, eq=False)
class Answer:
    """What came of a query for all keys; without an error, a key that is not in it has nothing there."""

    source: Source
    found: Mapping[Key, Found] = field(default_factory=dict)
    error: Exception | None = None
    state: State = "fresh"
    seconds: float = 0.0
    count: int = 0
    # Most keys of an answer fare alike, and share what is said of it.
    _said: dict[tuple[State, str | None], SourceMeta] = field(default_factory=dict)

    def meta(self, state: State, error: Exception | None = None, age: float | None = None) -> SourceMeta:
        """How it fared with one key."""
        name = None if error is None else _name(error)
        said = self._said.get((state, name)) if age is None else None
        if said is None:
            source = self.source
            said = SourceMeta(
                source.name, source.store, state, self.seconds * 1000, self.count, source.names, name, age
            )
            if age is None:
                self._said[state, name] = said
        return said


def assembled(key: Key, answers: Sequence[Answer], known: LastKnown, make: Make[E]) -> Outcome[E]:
    """The entity under a key, or that it is missing, or why it could not be made.

    That something is not there is certain, so it goes before an error of another source.
    """
    values: dict[str, object] = {}
    metas: list[SourceMeta] = []
    missing: Missing | None = None
    failed: Failed | None = None
    for answer in answers:
        source = answer.source
        meta, error = _fill(key, answer, known, values)
        metas.append(meta)
        if not source.required:
            continue
        if meta.state == "missing":
            missing = missing or Missing(key, source.name, source.store)
        # What has failed says more than what was given up because of it.
        elif error is not None and (meta.state == "failed" or (meta.state == "late" and failed is None)):
            failed = Failed(key, source.name, error)
    if missing is None and all(meta.state == "missing" for meta in metas):
        first = answers[0].source
        missing = Missing(key, first.name, first.store)
    return missing or failed or Loaded(key, make(key, values, Meta(tuple(metas))))


def _fill(key: Key, answer: Answer, known: LastKnown, values: dict[str, object]) -> tuple[SourceMeta, Exception | None]:
    """Put the source's values in; how it fared, and the error if there was one."""
    source, error, state = answer.source, answer.error, answer.state
    if error is None:
        found = answer.found.get(key)
        if found is None:
            values.update(dict.fromkeys(source.names))
            known.forget(source, key)
            return answer.meta("missing"), None
        made = _made(source, found)
        if isinstance(made, dict):
            values.update(made)
            known.keep(source, key, made)
            return answer.meta("fresh"), None
        error, state = made, "failed"
    kept = known.recall(source, key)
    if kept is not None:
        values.update(kept.values)
        return answer.meta("stale", error, kept.age), error
    values.update(dict.fromkeys(source.names))
    return answer.meta(state, error), error


def _made(source: Source, found: Found) -> dict[str, object] | Exception:
    if isinstance(found, Exception):
        return found
    try:
        return {one.name: one.value(raw, source.name) for one, raw in zip(source.fields, found, strict=True)}
    except FieldMismatch as error:
        return error


def _name(error: Exception) -> str:
    """The name of tercet's own class where an error is a driver's too."""
    return type(error).__name__.partition("[")[0]
