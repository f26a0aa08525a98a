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
from tercet.advisor.scope.resolve import resolve

__all__ = [
    "Block",
    "Cte",
    "Join",
    "Order",
    "Output",
    "Reference",
    "Source",
    "Sublink",
    "reference",
    "references",
    "resolve",
]
