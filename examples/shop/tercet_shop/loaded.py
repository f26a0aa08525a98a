"""What loading a store took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows (or documents) and bytes that were sent, and the time it took: the wall's and this process's CPU.

    The seconds reach from the first statement to the last index; the CPU's hold everything the process did
    meanwhile.
    """

    rows: int
    seconds: float
    cpu_seconds: float
    bytes: int

    @property
    def rows_a_cpu_second(self) -> float:
        """Rows made, encoded and sent for each second of this process's CPU."""
        return self.rows / self.cpu_seconds if self.cpu_seconds else 0.0
