"""What PostgreSQL says of an error, whoever has wrapped it since."""

from __future__ import annotations


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of an error, or None where it has none."""
    seen: BaseException | None = error
    while seen is not None:
        for one in (seen, getattr(seen, "orig", None)):
            if isinstance(state := getattr(one, "sqlstate", None), str):
                return state
        seen = seen.__cause__ or seen.__context__
    return None
