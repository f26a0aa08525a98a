"""What an error of a database means, whoever has wrapped it."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from tercet.advisor.failure import sqlstate, timed_out, words
from tercet.errors import DeadlinePassed


def _wrapped(told: asyncpg.PostgresError) -> DBAPIError:
    """An error as SQLAlchemy hands it on: asyncpg's inside of its own inside of one for programs."""
    inner = Exception(f"{type(told)}: {told}")
    inner.__cause__ = told
    return DBAPIError("select 1", None, inner)


@pytest.mark.parametrize("message", ["there is no such thing", "operator does not exist: a >: b", "first\nsecond"])
def test_the_server_is_quoted_without_what_drivers_put_around_it(message: str) -> None:
    """One line, in the server's words alone, neither the statement nor names of classes."""
    assert words(_wrapped(asyncpg.UndefinedFunctionError(message))) == message.splitlines()[0]
    assert words(asyncpg.PostgresError(message)) == message.splitlines()[0]


def test_an_error_without_words_goes_by_its_name() -> None:
    """Something is always said."""
    assert words(TimeoutError()) == "TimeoutError"


def test_the_code_is_found_wherever_it_stands() -> None:
    """Also in a chain of errors that runs in a circle, which has none."""
    assert sqlstate(_wrapped(asyncpg.QueryCanceledError("too late"))) == "57014"
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert sqlstate(one) == ""


def test_a_passed_limit_is_told_apart_from_other_ends() -> None:
    """The server's own limit, and ours."""
    assert timed_out(_wrapped(asyncpg.QueryCanceledError("too late")))
    assert timed_out(DeadlinePassed("postgres", what="reading", deadline=1.0))
    assert not timed_out(_wrapped(asyncpg.UndefinedTableError("no such table")))
