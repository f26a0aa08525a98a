"""Who stands in the way of a build: foretold before it begins, and watched while it runs."""

from tercet.migrations.waiting.blocker import Blocker
from tercet.migrations.waiting.clear import blockers, clear
from tercet.migrations.waiting.watch import Watch

__all__ = ["Blocker", "Watch", "blockers", "clear"]
