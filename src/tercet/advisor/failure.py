"""What an error of a database means, whoever has wrapped it."""

from __future__ import annotations

from typing import Any

from tercet.errors import DeadlinePassed

_CANCELLED = "57014"
# As much of the server's sentence as a person reads.
_WORDS = 300


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's own code of what went wrong, wherever it stands in the chain of errors; "" if nobody says."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        state = getattr(one, "sqlstate", None)
        if isinstance(state, str) and state:
            return state
        waiting += [getattr(one, "orig", None), one.__cause__, one.__context__]
    return ""


def timed_out(error: BaseException) -> bool:
    """Whether the statement had its time and was ended."""
    return isinstance(error, DeadlinePassed) or sqlstate(error) == _CANCELLED


def words(error: BaseException) -> str:
    """What the server said, in one line, without the statement and without what drivers put around it."""
    inner: BaseException | None = getattr(error, "orig", None)
    # SQLAlchemy wraps asyncpg's error in one of its own, whose text begins with the names of classes.
    said = error if inner is None else inner.__cause__ or inner
    line = next(iter(str(said).strip().splitlines()), "") or type(said).__name__
    return line.rstrip(".")[:_WORDS]
