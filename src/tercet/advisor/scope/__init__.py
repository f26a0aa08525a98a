"""Names of a statement resolved as PostgreSQL would: blocks, sources, predicates, keys and outputs, as values."""

from tercet.advisor.scope.asked import asked
from tercet.advisor.scope.block import (
    Block,
    Cte,
    Join,
    Order,
    Output,
    Reference,
    Source,
    Sublink,
    reference,
    references,
)
from tercet.advisor.scope.facts import correlated, is_constant, is_volatile, needs
from tercet.advisor.scope.predicate import Bound, Predicate
from tercet.advisor.scope.predicates import predicates
from tercet.advisor.scope.resolving.resolve import resolve
from tercet.advisor.scope.used import Origin, determined, expressions, keys, lineage, origin, used
from tercet.advisor.scope.written import index_text, plain, text

__all__ = [
    "Block",
    "Bound",
    "Cte",
    "Join",
    "Order",
    "Origin",
    "Output",
    "Predicate",
    "Reference",
    "Source",
    "Sublink",
    "asked",
    "correlated",
    "determined",
    "expressions",
    "index_text",
    "is_constant",
    "is_volatile",
    "keys",
    "lineage",
    "needs",
    "origin",
    "plain",
    "predicates",
    "reference",
    "references",
    "resolve",
    "text",
    "used",
]
