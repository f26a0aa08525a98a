"""What may be kept: the moments that tags were last dropped for, and whether a load has seen them."""

from tercet.cache.moments.recent import Recent
from tercet.cache.moments.rule import may_keep
from tercet.cache.moments.span import Beat, Record, Span

__all__ = ["Beat", "Recent", "Record", "Span", "may_keep"]
