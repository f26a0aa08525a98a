"""Results that are kept, in this process and in Redis, and dropped when they are no longer true."""

from tercet.cache.cache import Cache
from tercet.cache.cached import Bound, Cached, Found
from tercet.cache.encoding.pickled import Pickled
from tercet.cache.encoding.tags import tag
from tercet.cache.entry import LAYERS

__all__ = ["LAYERS", "Bound", "Cache", "Cached", "Found", "Pickled", "tag"]
