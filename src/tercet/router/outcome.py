"""What came of a load: one entity or none a key, and how each source has answered."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

from tercet.errors import EntityMissing
from tercet.telemetry.event import Store  # noqa: TC001 - a codec reads a dataclass' annotations while it runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.router.key import Key

# fresh: read just now. missing: the store has nothing under the key. failed: it gave an error, or something of
# another shape. late: it had not answered by the deadline. stale: it failed or was late, and what was read here
# before is shown.
State = Literal["fresh", "stale", "missing", "failed", "late"]

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class SourceMeta:
    """How one source has answered for one entity."""

    source: str
    store: Store
    state: State
    # How long its answer took, or how long it was waited for; the same for all keys that were asked for together.
    ms: float
    # How many keys were asked for together.
    count: int
    fields: tuple[str, ...]
    # The class of the error; never its text, which may carry values.
    error: str | None = None
    # Where it is stale: how many seconds ago it was read.
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Meta:
    """How each source of an entity has answered; that of an entity that was not loaded has none."""

    sources: tuple[SourceMeta, ...] = ()

    @property
    def degraded(self) -> bool:
        """Whether something is not known, or old, because a store did not answer as it should."""
        return any(one.state in {"failed", "late", "stale"} for one in self.sources)

    def __getitem__(self, name: str) -> SourceMeta:
        """The source of that name ("mongo tastes"), or of the field of that name."""
        for one in self.sources:
            if name == one.source or name in one.fields:
                return one
        raise KeyError(name)

    def __str__(self) -> str:
        return ", ".join(f"{one.source}: {one.state} ({one.ms:.1f} ms)" for one in self.sources) or "not loaded"


@dataclass(frozen=True, slots=True)
class Loaded(Generic[E]):
    """An entity, as it was asked for by this key."""

    key: Key
    entity: E


@dataclass(frozen=True, slots=True)
class Missing:
    """A source that the entity cannot do without has nothing under this key."""

    key: Key
    source: str
    store: Store


@dataclass(frozen=True, slots=True)
class Failed:
    """A source that the entity cannot do without has failed, or holds something of another shape."""

    key: Key
    source: str
    error: Exception


Outcome: TypeAlias = Loaded[E] | Missing | Failed


class Outcomes(Generic[E]):
    """What came of many keys, in the order in which they were asked for, one for each that was given."""

    __slots__ = ("_by_key", "_keys", "_name")

    def __init__(self, name: str, keys: Sequence[Key], by_key: dict[Key, Outcome[E]]) -> None:
        self._name, self._keys, self._by_key = name, keys, by_key

    def __iter__(self) -> Iterator[Outcome[E]]:
        return (self._by_key[key] for key in self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, key: Key) -> Outcome[E]:
        """What came of this key; raises KeyError for one that was not asked for."""
        return self._by_key[key]

    def get(self, key: Key) -> E:
        """The entity of this key; raises EntityMissing, or the error with which it has failed."""
        return settled(self._name, self._by_key[key])

    @property
    def entities(self) -> list[E]:
        """Those that are there, in order; one that was asked for twice comes twice."""
        return [one.entity for one in self if isinstance(one, Loaded)]

    @property
    def missing(self) -> list[Key]:
        """The keys under which there is none."""
        return [one.key for one in self if isinstance(one, Missing)]

    @property
    def failed(self) -> list[Failed]:
        """The keys of which nobody knows, each with its error."""
        return [one for one in self if isinstance(one, Failed)]

    def __repr__(self) -> str:
        return (
            f"<{len(self)} of {self._name}: {len(self.entities)} loaded, {len(self.missing)} missing, "
            f"{len(self.failed)} failed>"
        )


def settled(name: str, outcome: Outcome[E]) -> E:
    """The entity; raises EntityMissing, or the error of the source that has failed."""
    if isinstance(outcome, Loaded):
        return outcome.entity
    if isinstance(outcome, Missing):
        raise EntityMissing(outcome.store, entity=name, source=outcome.source, key=outcome.key)
    # A copy: an error that several raise collects all their tracebacks.
    raise copy(outcome.error) from outcome.error
