"""A real copy of the tables that matter, whole or in part, in a server of our own that leaves nothing behind."""

from tercet.advisor.sandbox.filling import Copied
from tercet.advisor.sandbox.sandbox import Sandbox, Taken, copy

__all__ = ["Copied", "Sandbox", "Taken", "copy"]
