"""What a server said no to, as one sentence with its mend, instead of a driver's pages."""

from __future__ import annotations

from tercet.advisor.failure import sqlstate, words
from tercet.errors import StoreError

# By PostgreSQL's own code of what went wrong.
_MENDS = {
    "25006": "This server takes no writes just now: give the URL of its primary.",
    "42501": "It takes the rights of the owner: give the URL with that login.",
    "53100": "Make room on the server's disk; the same command goes on where this one has ended.",
    "53200": "Give the server more of it, or ask when less is going on there.",
    "57014": "Somebody, or a limit of the server's, has ended it: run the same command again.",
}


def refused(error: Exception) -> StoreError | None:
    """The error that says so; None for one that no PostgreSQL has told."""
    state = sqlstate(error)
    if not state:
        return None
    return StoreError("postgres", f"PostgreSQL says no: {words(error)}.", _MENDS.get(state, ""))
