"""The what-if engine of a server that has the extension hypopg, its sizes and its cheap descents put right."""

from tercet.advisor.hypopg.hypopg import Hypopg, hypopg

__all__ = ["Hypopg", "hypopg"]
