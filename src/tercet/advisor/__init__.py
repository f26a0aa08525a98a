"""A slow query taken to where it belongs: indexes, rewrites, views and cache advice, each with its proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.advice import Advice, CachePolicy, Engine, Piece, Proof, Rejected, Rewrite, StatementAdvice
from tercet.advisor.candidate import Candidate
from tercet.advisor.catalog import Catalog
from tercet.advisor.port import WhatIf
from tercet.advisor.query import Example, Query, Workload
from tercet.errors import ExtraMissing

if TYPE_CHECKING:
    from tercet.advisor.advisor import advise as advise

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


def __getattr__(name: str) -> object:
    """Load what speaks to servers when it is first touched: the values need no driver."""
    if name != "advise":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tercet.advisor.advisor import advise  # noqa: PLC0415 - it brings the drivers
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module == "tercet":
            raise
        raise ExtraMissing("advise()", module=module, extra="advisor") from error
    return advise
