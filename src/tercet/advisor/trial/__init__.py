"""A WhatIf with real indexes on a real copy: the slowest of the engines, and the one that is never wrong."""

from tercet.advisor.trial.trial import Trial

__all__ = ["Trial"]
