"""What PostgreSQL's refusals look like when they come through SQLAlchemy."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

REFUSALS = (DBAPIError,)
