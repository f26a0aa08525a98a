"""How long to wait before the next try: longer each time, and never for everybody the same."""

from __future__ import annotations

import random


class Pause:
    """Grows from `least` to `most` seconds, twice as long each time, until it is told that all is well."""

    __slots__ = ("_least", "_most", "_next", "tries")

    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least, most
        self.well()

    def well(self) -> None:
        """Something has succeeded: the next pause is the shortest again."""
        self._next, self.tries = self._least, 0

    def next(self) -> float:
        """Seconds until the next try: between half of what is due and all of it."""
        due, self._next = self._next, min(self._next * 2, self._most)
        self.tries += 1
        return due * random.uniform(0.5, 1.0)  # noqa: S311 - spreads tries out, guards nothing
