"""A slow query taken to where it belongs: indexes, rewrites, views and cache advice, each with its proof."""

from tercet.advisor.advice import Advice, CachePolicy, Engine, Piece, Proof, Rejected, Rewrite, StatementAdvice
from tercet.advisor.advisor import advise
from tercet.advisor.candidate import Candidate
from tercet.advisor.catalog import Catalog
from tercet.advisor.port import WhatIf
from tercet.advisor.query import Example, Query, Workload

__all__ = [
    "Advice",
    "CachePolicy",
    "Candidate",
    "Catalog",
    "Engine",
    "Example",
    "Piece",
    "Proof",
    "Query",
    "Rejected",
    "Rewrite",
    "StatementAdvice",
    "WhatIf",
    "Workload",
    "advise",
]
