"""A statement as a tree that can be asked, compared and changed, and written down again as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tercet.errors import ExtraMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# One statement is looked at from many sides, one after the other; a tree takes some hundred kilobytes at most.
_TREES_MAX = 64

# What stands in a field: another tree, several, or a word, a number, a yes.
One: TypeAlias = "Tree | str | int | float"
Part: TypeAlias = "Tree | str | int | float | tuple[One, ...]"


@dataclass(frozen=True, slots=True)
class Tree:
    """A node of PostgreSQL's own grammar by its name there ("SelectStmt", "ColumnRef"), with its fields.

    Fields are named as libpg_query names them (target_list, from_clause); one that holds its zero value (0, False,
    "", nothing) is left out. Places in the text are left out as well, so two trees are equal if they mean the same
    words. Trees are values: `replaced` and `mapped` make new ones.
    """

    kind: str
    parts: tuple[tuple[str, Part], ...] = ()

    def get(self, name: str) -> Part | None:
        """What stands in a field; None if that is left out."""
        for field, part in self.parts:
            if field == name:
                return part
        return None

    def tree(self, name: str) -> Tree | None:
        """The tree in a field; None if there is none."""
        part = self.get(name)
        return part if isinstance(part, Tree) else None

    def trees(self, name: str) -> tuple[Tree, ...]:
        """The trees in a field that holds several; none if it is left out."""
        part = self.get(name)
        return tuple(one for one in part if isinstance(one, Tree)) if isinstance(part, tuple) else ()

    def text(self, name: str) -> str:
        """The word in a field; "" if it is left out."""
        part = self.get(name)
        return part if isinstance(part, str) else ""

    def below(self) -> Iterator[Tree]:
        """The trees directly below this one, in the order of the fields."""
        for _, part in self.parts:
            for one in part if isinstance(part, tuple) else (part,):
                if isinstance(one, Tree):
                    yield one

    def walk(self) -> Iterator[Tree]:
        """This tree and all below it, each before what is below it."""
        waiting = [self]
        while waiting:
            tree = waiting.pop()
            yield tree
            # As `below` has them, from behind; spelt out, since walks are most of what reading a statement takes.
            for _, part in reversed(tree.parts):
                if isinstance(part, Tree):
                    waiting.append(part)
                elif isinstance(part, tuple):
                    waiting.extend([one for one in reversed(part) if isinstance(one, Tree)])

    def replaced(self, **parts: Part | None) -> Tree:
        """The same tree with other fields; None takes one away."""
        kept = dict(self.parts)
        for name, part in parts.items():
            if part is None:
                kept.pop(name, None)
            else:
                kept[name] = part
        return Tree(self.kind, tuple(kept.items()))

    def mapped(self, change: Callable[[Tree], Tree]) -> Tree:
        """The tree with `change` made to each of its nodes, what is below a node first."""
        parts = tuple((name, _mapped(part, change)) for name, part in self.parts)
        return change(Tree(self.kind, parts))


@lru_cache(maxsize=_TREES_MAX)
def parse(text: str) -> Tree:
    """The tree of one statement ("SelectStmt", "InsertStmt" …).

    Raises SqlInvalid for what is no statement, or more than one; ExtraMissing without postgast.
    """
    return _grammar().tree(text)


def write(tree: Tree) -> str:
    """The SQL of a tree: of a statement, or of an expression inside of one."""
    return _grammar().written(tree)


class _Grammar(Protocol):
    def tree(self, text: str) -> Tree: ...
    def written(self, tree: Tree) -> str: ...


def _grammar() -> _Grammar:
    try:
        grammar: _Grammar = import_module("tercet.sql.postgast_tree")
    except ImportError as error:
        raise ExtraMissing("Reading SQL", module="postgast", extra="advisor") from error
    return grammar


def _mapped(part: Part, change: Callable[[Tree], Tree]) -> Part:
    if isinstance(part, Tree):
        return part.mapped(change)
    if isinstance(part, tuple):
        return tuple(one.mapped(change) if isinstance(one, Tree) else one for one in part)
    return part
