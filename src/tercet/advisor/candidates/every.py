"""Every kind of index, in the order in which they are thought of."""

from tercet.advisor.candidates.draft import Kind
from tercet.advisor.candidates.kinds import (
    array,
    brin,
    covering,
    equality,
    expression,
    fulltext,
    group,
    join,
    jsonb,
    merged,
    partial,
    partitioned,
    prefix,
    sort,
    trigram,
    unique,
)
from tercet.advisor.candidates.kinds import (
    hash as hashed,
)
from tercet.advisor.candidates.kinds import (
    range as ranged,
)

# Order is meaning: covering, partial and partitioned build on what was drafted before them, and the last two look
# at a table as a whole.
CANDIDATES: tuple[Kind, ...] = (
    equality.KIND,
    ranged.KIND,
    sort.KIND,
    join.KIND,
    group.KIND,
    expression.KIND,
    prefix.KIND,
    trigram.KIND,
    fulltext.KIND,
    jsonb.KIND,
    array.KIND,
    brin.KIND,
    hashed.KIND,
    covering.KIND,
    partial.KIND,
    partitioned.KIND,
    unique.KIND,
    merged.KIND,
)

__all__ = ["CANDIDATES"]
