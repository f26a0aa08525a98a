"""What PostgreSQL's refusals look like when they come through SQLAlchemy."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

REFUSALS = (DBAPIError,)


def words(error: BaseException) -> str:
    """What the server has said, without what drivers put around it."""
    inner = getattr(error, "orig", None) or error
    return str(inner.__cause__ or inner).strip()
