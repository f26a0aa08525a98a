"""SQL as people keep it, read as a workload."""

from __future__ import annotations

from pathlib import Path

import pytest

from tercet.advisor.workload import from_files, from_text
from tercet.errors import DocumentInvalid

_SCRIPT = r"""
-- name: orders of a day
-- calls: 1,200 ms: 12.5
select * from orders where created_at > '2024-01-01'; -- said of nothing

\timing on
/* name: the twin */ select a from x where a = ';' and b = $$;$$ \g
explain (analyze) select * from b where c = 3;
copy t from stdin;
1	2;select nonsense
\.
begin;
update t set a = 1 where b = 2;
commit
"""


def test_comments_name_and_weigh_the_statement_that_follows() -> None:
    """Name, calls and milliseconds; commas in numbers are as people write them."""
    first = from_text(_SCRIPT).queries[0]
    assert (first.label, first.calls, first.ms, first.total_ms) == ("orders of a day", 1200, 12.5, 15_000)
    assert first.sql == "select * from orders where created_at > '2024-01-01'"


def test_what_psql_understands_is_not_taken_for_sql() -> None:
    """Its commands, the rows behind COPY, and what ends a statement by a backslash."""
    workload = from_text(_SCRIPT)
    assert workload.skipped == ()
    assert [query.sql for query in workload.queries[1:]] == [
        "select a from x where a = ';' and b = $$;$$",
        "SELECT * FROM b WHERE c = 3",
        "update t set a = 1 where b = 2",
    ]
    assert [query.label for query in workload.queries[1:]] == [
        "the twin",
        "SELECT * FROM b WHERE c = 3",
        "update t set a = 1 where b = 2",
    ]


def test_a_statement_that_cannot_be_read_is_skipped_and_the_others_are_taken() -> None:
    """With its text and the grammar's reason."""
    workload = from_text("select * fro m; select 1 from t; select :x from t")
    assert [query.sql for query in workload.queries] == ["select 1 from t"]
    assert [one.sql for one in workload.skipped] == ["select * fro m", "select :x from t"]
    assert all("syntax error" in one.why for one in workload.skipped)


def test_statements_that_differ_in_constants_are_one_with_examples() -> None:
    """Each text stays as an example; their weights come to one."""
    workload = from_text(";".join(f"select * from t where a = {number}" for number in range(20)))
    (query,) = workload.queries
    assert query.calls == 20
    assert len(query.examples) == 8
    assert sum(one.weight for one in query.examples) == pytest.approx(1)
    assert {one.origin for one in query.examples} == {"given"}


def test_an_empty_text_is_an_empty_workload() -> None:
    """Comments alone as well."""
    assert from_text("").queries == from_text("-- nothing\n;;\n").queries == ()


def test_folders_are_read_file_by_file(tmp_path: Path) -> None:
    """A file of one statement gives it its name; only .sql files are taken from folders, any file by its name."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "by day.sql").write_text("select * from a", encoding="utf-8-sig")
    (tmp_path / "two.SQL").write_text("select * from b; select * from c")
    (tmp_path / "notes.txt").write_text("select * from d")
    workload = from_files([tmp_path, tmp_path / "notes.txt"])
    assert {query.label: query.sql for query in workload.queries} == {
        "by day": "select * from a",
        "select * from b": "select * from b",
        "select * from c": "select * from c",
        "notes": "select * from d",
    }
    assert workload.source == f"{tmp_path.name}, notes.txt"


def test_a_path_without_statements_says_what_to_give(tmp_path: Path) -> None:
    """One that is not there, and a folder that holds no .sql."""
    with pytest.raises(DocumentInvalid, match=r"no such file or folder.*Name a \.sql file"):
        from_files([tmp_path / "nowhere.sql"])
    with pytest.raises(DocumentInvalid, match=r"holds no such file.*\.sql"):
        from_files([tmp_path])
