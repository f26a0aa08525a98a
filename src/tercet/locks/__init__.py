"""One at a time, among all processes: locks in Redis with a line, a renewal, and a token for the fence."""

from tercet.locks.held import Held
from tercet.locks.lock import Lock, ReadWrite
from tercet.locks.locks import Locks

__all__ = ["Held", "Lock", "Locks", "ReadWrite"]
