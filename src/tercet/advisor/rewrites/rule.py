"""What a rule is: a name, and a function from one SELECT to another that asks the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.rewrites.facts import Facts
    from tercet.advisor.rewrites.sources import Scope
    from tercet.sql.tree import Tree


@dataclass(frozen=True, slots=True)
class Block:
    """One SELECT with its names; `top` is the outermost."""

    select: Tree
    scope: Scope
    catalog: Catalog
    top: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """Another SELECT that asks the same, and what that rests on."""

    select: Tree
    because: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to ask the same otherwise; `apply` answers None where it does not fit or is not proved.

    `apart`: what comes of it may well be slower, and is never mixed into the one that all rules have made.
    """

    name: str
    apply: Callable[[Block, Facts], Changed | None]
    apart: bool = False
