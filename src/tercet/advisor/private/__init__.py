"""A PostgreSQL of our own that nobody else may enter, and of which nothing stays."""

from tercet.advisor.private.cluster import Cluster
from tercet.advisor.private.recipe import Recipe, major_of

__all__ = ["Cluster", "Recipe", "major_of"]
