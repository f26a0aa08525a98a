"""Folding: counted by fingerprint, bounded whatever comes."""

from __future__ import annotations

import pytest

from tercet.advisor.workload import MARK, Asked, Folding, folding
from tercet.sql import Statement


def _workload(*asked: Asked) -> list[tuple[str, float, float | None]]:
    fold = Folding()
    for one in asked:
        fold.add(one)
    return [(query.sql, query.calls, query.ms) for query in fold.workload("test").queries]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select * from t where a = 1", "select  *\nfrom t where a = -- why\n 22"),
        ("select * from t where a = 'x''y'", "select * from t where a = E'\\''"),
        ("select * from t where a = $1 and b = 3", "select * from t where a = 7 and b = $1"),
        ("select * from t where a in (1, 2)", "select * from t where a in ($1 /*, ... */)"),
        ('select * from t1 where "a 1" = 1.5e3', 'select * from t1 where "a 1" = $$x$$'),
        ("select * from t where a = date '2024-01-01'", "select * from t where a = date $1"),
    ],
)
def test_like_statements_are_one(one: str, other: str) -> None:
    """Whatever form their constants have."""
    (found,) = _workload(Asked(one, 2, 10.0), Asked(other, 3, 5.0), Asked(other, 1, 3.0))
    assert found == (one, 6, 3.0)


@pytest.mark.parametrize("other", ["select * from t2 where a = 1", 'select * from t1 where "a" = 1 or a = 2'])
def test_numbers_in_names_tell_statements_apart(other: str) -> None:
    """Only constants are marks."""
    assert len(_workload(Asked("select * from t1 where a = 1"), Asked(other))) == 2


def test_what_was_timed_only_in_part_has_the_mean_of_what_was() -> None:
    """Calls without a time do not make it look quick."""
    assert _workload(Asked("select 1 from t", 3), Asked("select 1 from t", 1, 8.0)) == [("select 1 from t", 4, 8.0)]


def test_what_two_lines_tell_counts_once() -> None:
    """A plan and a duration of the same run: the greater of the two counts holds."""
    lines = [Asked("select 1 from t", 1, 5.0), Asked("select 1 from t", 1, 4.0, twice=True)]
    assert _workload(*lines, *lines, Asked("select 1 from t", 1, 4.0, twice=True)) == [("select 1 from t", 3, 4.0)]


def test_the_heaviest_are_kept_up_to_the_share_and_the_top() -> None:
    """The rest is told by number and share."""
    fold = Folding()
    for number, ms in enumerate((60.0, 30.0, 9.0, 1.0)):
        fold.add(Asked(f"select c{number} from t", 1, ms))
    some = fold.workload("test", share=0.9)
    assert [query.ms for query in some.queries] == [60, 30]
    assert some.fingerprints == 4
    assert some.share == pytest.approx(0.9)
    assert len(fold.workload("test", top=1, share=1.0).queries) == 1
    assert len(fold.workload("test", share=1.0).queries) == 4


def test_memory_is_bounded_and_the_heavy_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ten times as many fingerprints as there is room, what matters is still there."""
    monkeypatch.setattr(folding, "FINGERPRINTS_MAX", 50)
    monkeypatch.setattr(folding, "FORMS_MAX", 80)
    fold = Folding()
    for number in range(500):
        fold.add(Asked(f"select c{number} from t", 1, 1.0))
        fold.add(Asked("select heavy from t where a = 1", 1, 5.0))
        assert len(fold._folds) <= 50
        assert len(fold._forms) <= 80
    workload = fold.workload("test")
    assert (workload.queries[0].sql, workload.queries[0].calls) == ("select heavy from t where a = 1", 500)
    assert workload.fingerprints == 501


def test_long_texts_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """All characters together are bounded, and what is too long for a statement is told."""
    monkeypatch.setattr(folding, "CHARS_MAX", 10_000)
    fold = Folding()
    for number in range(100):
        fold.add(Asked(f"select c{number} from t where a = '{'x' * 900}'", 1, 1.0))
    assert sum(len(text) for one in fold._folds.values() for _, text in one.texts) <= 10_000
    fold.add(Asked(f"select 1 from t where a = '{'x' * 200_000}'"))
    assert ["longer than" in one.why for one in fold.workload("test").skipped] == [True]
    assert len(fold.workload("test").skipped[0].sql) <= 300


def test_examples_stand_for_the_quick_and_the_slow() -> None:
    """Eight texts out of thousands, spread over their times, their weights one together."""
    fold = Folding()
    for number in range(3000):
        fold.add(Asked(f"select * from t where a = {number}", 1, 900.0 if number % 10 == 0 else 1.0))
    (query,) = fold.workload("test").queries
    slow = sum(one.weight for one in query.examples if int(one.sql.rpartition(" ")[2]) % 10 == 0)
    assert len(query.examples) == 8
    assert sum(one.weight for one in query.examples) == pytest.approx(1)
    assert 0 < slow < 0.4


@pytest.mark.parametrize(
    "sql",
    [
        "begin",
        "vacuum t",
        "set x = 1",
        "select 1",
        "select * from pg_class",
        f"select 1 from t {MARK}",
        "copy t to stdout",
    ],
)
def test_what_nobody_can_be_advised_on_is_left_out_silently(sql: str) -> None:
    """It is neither a statement of the workload nor one that was skipped."""
    fold = Folding()
    assert not fold.add(Asked(sql))
    assert not fold.add(Asked(sql))
    workload = fold.workload("test")
    assert (workload.queries, workload.skipped) == ((), ())


@pytest.mark.parametrize(
    "sql",
    [
        "explain analyze select a from t",
        "declare c cursor for select a from t",
        "copy (select a from t) to stdout",
        "prepare p as select a from t",
    ],
)
def test_what_another_statement_carries_is_looked_at(sql: str) -> None:
    """Twice as well: the text is that of the statement inside."""
    fold = Folding()
    fold.add(Asked(sql))
    fold.add(Asked(sql.replace("select a", "select  a")))
    (query,) = fold.workload("test").queries
    assert (query.statement, query.calls) == (Statement("SELECT a FROM t"), 2)
    assert {one.sql for one in query.examples} == {"SELECT a FROM t"}


def test_sites_and_the_rest_are_kept() -> None:
    """Call sites each once, the first name, and the path."""
    fold = Folding()
    for site in ("a.py:1", "b.py:2", "a.py:1"):
        fold.add(Asked("select a from t", rows=3, sites=(site,), label=site, search_path=("x",)))
    (query,) = fold.workload("test").queries
    assert (query.sites, query.label, query.search_path, query.rows) == (("a.py:1", "b.py:2"), "a.py:1", ("x",), 3)
