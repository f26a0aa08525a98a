"""Results that are kept, in this process and in Redis, and dropped when they are no longer true."""

from tercet.cache.cache import Cache
from tercet.cache.cached import Bound, Cached, Found
from tercet.cache.encoding.pickled import Pickled
from tercet.cache.encoding.tags import tag
from tercet.cache.entry import LAYERS, PolicyWords
from tercet.cache.shelf import TRUST_SECONDS
from tercet.cache.stats import Copy, Explanation, Stats

__all__ = [
    "LAYERS",
    "TRUST_SECONDS",
    "Bound",
    "Cache",
    "Cached",
    "Copy",
    "Explanation",
    "Found",
    "Pickled",
    "PolicyWords",
    "Stats",
    "tag",
]
