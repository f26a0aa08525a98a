"""How often a fallback asks: at once while there is something, more and more seldom while there is not."""

from __future__ import annotations

# Below it, asking is most of what the server does for us; a commit is then told 5 ms late on the average.
BUSY_SECONDS = 0.010
# Four questions a second are nothing to a server, and a quarter of a second late is soon enough after a silence.
IDLE_SECONDS = 0.250
# From one to the other in some seven silent questions, half a second.
_GROWTH = 1.6


class Pace:
    """The pause before the next question."""

    __slots__ = ("_busy", "_idle", "_next")

    def __init__(self, busy: float = BUSY_SECONDS, idle: float = IDLE_SECONDS) -> None:
        self._busy, self._idle, self._next = busy, idle, busy

    def found(self) -> None:
        """The last question brought something: more is likely to come soon."""
        self._next = self._busy

    def pause(self) -> float:
        """So long is to be waited after a question that brought nothing."""
        pause = self._next
        self._next = min(self._idle, pause * _GROWTH)
        return pause
