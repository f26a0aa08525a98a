"""Production is read once, in one short transaction that writes nothing: its schema and statistics as a Catalog."""

from tercet.advisor.reading.reading import read

__all__ = ["read"]
