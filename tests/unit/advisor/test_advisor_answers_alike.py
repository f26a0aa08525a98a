"""Two answers: the same, open, or not the same."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tercet.advisor.verify.answer import Answer, compare_answers, order_of

SQL = "select id, name, total from t order by total desc limit 4"
NAMES = ("id", "name", "total")


def _answer(rows: Sequence[tuple[object, ...]]) -> Answer:
    answer = Answer(names=NAMES)
    answer.take(rows)
    return answer


def _same(
    before: Sequence[tuple[object, ...]], after: Sequence[tuple[object, ...]], sql: str
) -> tuple[bool | None, str]:
    found = compare_answers(_answer(before), _answer(after), order_of(sql, NAMES))
    return found.same, found.sentence


def test_rows_in_any_order_are_the_same_where_none_was_asked_for() -> None:
    """Without ORDER BY an answer is a bag."""
    assert _same([(1, "a", 2), (2, "b", 3)], [(2, "b", 3), (1, "a", 2)], "select id, name, total from t") == (
        True,
        "same 2 rows",
    )


def test_a_row_that_comes_twice_counts_twice() -> None:
    """A bag, and not a set."""
    same, sentence = _same([(1, "a", 2)] * 2 + [(2, "b", 3)], [(1, "a", 2)] + [(2, "b", 3)] * 2, "select * from t")
    assert same is False
    assert "1 of 3 rows are others" in sentence


def test_an_order_that_was_asked_for_is_kept() -> None:
    """The same rows the other way round are another answer."""
    sql = "select id, name, total from t order by total"
    assert _same([(1, "a", 2), (2, "b", 3)], [(2, "b", 3), (1, "a", 2)], sql)[0] is False


@pytest.mark.parametrize("by", ["total", "3", "t.total", "total desc"])
def test_ties_may_come_in_any_order(by: str) -> None:
    """What ORDER BY leaves open may differ, and is told."""
    sql = f"select id, name, t.total from t order by {by}"
    same, sentence = _same([(1, "a", 2), (2, "b", 2)], [(2, "b", 2), (1, "a", 2)], sql)
    assert same is True
    assert "tie" in sentence


def test_an_order_by_what_is_not_shown_is_said_not_to_be_compared() -> None:
    """The rows are the same, and more is not known."""
    sql = "select id, name, total from t order by lower(name)"
    assert "could not be compared" in _same([(1, "a", 2), (2, "b", 3)], [(2, "b", 3), (1, "a", 2)], sql)[1]


def test_two_empty_answers_prove_nothing() -> None:
    """No row was compared, and that is said; "same 0 rows" would sound like a proof."""
    found = compare_answers(_answer([]), _answer([]), order_of(SQL, NAMES))
    assert (found.same, found.rows, found.empty) == (None, 0, True)
    assert found.sentence == "both answers are empty, so no row was compared"


def test_ties_at_the_limit_are_open() -> None:
    """Which of the last ones come, the question does not say."""
    before = [(1, "a", 9), (2, "b", 8), (3, "c", 7), (4, "d", 7)]
    after = [(1, "a", 9), (2, "b", 8), (5, "e", 7), (3, "c", 7)]
    same, sentence = _same(before, after, SQL)
    assert same is None
    assert sentence.startswith("same 2 rows, then 2 that tie")


def test_another_row_above_the_limit_is_no_tie() -> None:
    """Only the last value may be shared among others."""
    before = [(1, "a", 9), (2, "b", 8), (3, "c", 7)]
    after = [(1, "a", 9), (9, "z", 8), (3, "c", 7)]
    assert _same(before, after, SQL)[0] is False


def test_a_limit_without_an_order_leaves_everything_open() -> None:
    """Any rows do."""
    assert _same([(1, "a", 1)], [(2, "b", 2)], "select id, name, total from t limit 1")[0] is None


def test_the_last_digits_of_a_sum_are_forgiven_and_no_more() -> None:
    """Floating point numbers added in another order are still the same answer."""
    sql = "select id, name, total from t"
    assert _same([(1, "a", 0.1 + 0.2)], [(1, "a", 0.3)], sql)[0] is True
    assert _same([(1, "a", 0.3)], [(1, "a", 0.30001)], sql)[0] is False


def test_null_is_nothing_else_and_a_moved_row_is_missed() -> None:
    """NULL is not 0, and fewer rows are fewer."""
    assert _same([(1, "a", None)], [(1, "a", 0)], "select * from t")[0] is False
    assert _same([(1, "a", 1)], [], "select * from t") == (False, "not the same rows: 1 before, 0 after")


def test_no_value_of_a_row_stands_in_a_sentence() -> None:
    """Reports are handed around; what is in the tables is not."""
    for sql in (SQL, "select * from t"):
        assert "secret" not in _same([(1, "secret", 1)], [(2, "other", 2)], sql)[1]
