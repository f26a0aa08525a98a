"""What a rule is: a pipeline and what is known of the collections in, an equal pipeline out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.advisor.mongo.shape import Document

Pipeline: TypeAlias = "tuple[Document, ...]"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known for sure: fields that are unique (each document another value), and production's version."""

    unique: frozenset[tuple[str, str]] = frozenset()
    version: tuple[int, ...] = (5, 0)

    def is_unique(self, collection: str, field: str) -> bool:
        """Whether no two documents of this collection have the same value here."""
        return field == "_id" or (collection, field) in self.unique


@dataclass(frozen=True, slots=True)
class Found:
    """An equal pipeline: unless a field of `unless` (a collection and a field each) holds an empty array."""

    pipeline: Pipeline
    unless: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rewriting by its name, why it is equal, and the function that does it once (None: nothing to do)."""

    name: str
    why: str
    apply: Callable[[Pipeline, Facts], Found | None]


def stage(one: Document) -> tuple[str, Any]:
    """A stage's name and what it is given."""
    return next(iter(one.items()), ("", None))
