"""The advisor's answer for the ladder's question: what is built of it, and what a person is told."""

from __future__ import annotations

from datetime import UTC, datetime

from tercet.advisor import Advice, Piece, Rewrite, StatementAdvice
from tercet.sql import Index, View
from tercet_shop.advised import Advised, question, read

INDEX = Index("ix", "orders", columns=("user_id",), include=("total",))
VIEW = View("sums", "select 1 as user_id", key=("user_id",))
REWRITE = Rewrite("f", "select 1", "select 2", ("lateral_aggregation", "count_star"))


def _advice(*pieces: Piece, notes: tuple[str, ...] = ()) -> Advice:
    statement = StatementAdvice("f", "select 1", "top", 1, 10.0, 1.0, notes=notes, sql_after="select 3")
    return Advice((statement,), pieces, None, "text")


def test_the_pieces_that_help_the_question_are_its_road() -> None:
    """Indexes, rewritten text, view and text over the view; what helps another statement is left."""
    found = read(
        _advice(
            Piece("index", "why", size_bytes=2_000_000, helps=("f",), value=INDEX),
            Piece("index", "why", helps=("other",), value=INDEX),
            Piece("rewrite", "why", helps=("f",), value=REWRITE),
            Piece("view", "why", helps=("f",), value=VIEW),
            notes=("it adds up",),
        ),
        2.0,
    )
    assert (found.indexes, found.rewritten, found.view, found.from_view) == ((INDEX,), "select 2", VIEW, "select 3")
    assert found.lines == (
        "The advisor was given the query and nothing else (2 s). It says:",
        "  index    orders (user_id) include (total)  2.0 MB",
        "  rewrite  lateral_aggregation, then count_star",
        "  view     sums, a row for each user_id",
        "  known    it adds up",
    )


def test_no_advice_is_told_as_such() -> None:
    """A shop so small that nothing is worth its price has no road of the advisor's."""
    found = read(_advice(), 2.0)
    assert found == Advised(lines=(found.lines[0], "  nothing is worth its price at this size"))


def test_the_question_has_its_moment_written_out() -> None:
    """No parameter is left in the text that the advisor is given."""
    asked = question(datetime(2024, 1, 1, tzinfo=UTC))
    assert "u.created_at >= '2024-01-01T00:00:00+00:00'" in asked
    assert ":since" not in asked
