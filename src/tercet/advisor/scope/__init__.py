"""Names of a statement resolved as PostgreSQL would: blocks, sources, predicates, keys and outputs, as values."""

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

__all__ = [
    "Block",
    "Bound",
    "Cte",
    "Join",
    "Order",
    "Output",
    "Predicate",
    "Reference",
    "Source",
    "Sublink",
    "correlated",
    "is_constant",
    "is_volatile",
    "needs",
    "predicates",
    "reference",
    "references",
    "resolve",
]
