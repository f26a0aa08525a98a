"""Statements are known by PostgreSQL's own grammar."""

from __future__ import annotations

import sys

import pytest

from tercet.errors import ExtraMissing, SqlInvalid
from tercet.sql import Statement


def test_constants_spaces_and_lengths_of_lists_do_not_change_a_fingerprint() -> None:
    """And everything else does."""
    one = Statement("select * from t where a in (1, 2) and b = 'x'")
    assert one.fingerprint == Statement("SELECT *\nFROM t WHERE a IN (7,8,9) AND b = 'y'").fingerprint
    assert one.fingerprint != Statement("select * from t where a in (1, 2) and c = 'x'").fingerprint
    assert one.normalized == "select * from t where a in ($1, $2) and b = $3"


@pytest.mark.parametrize(
    ("text", "kind", "reads", "writes"),
    [
        ("select * from a join s.b using (id)", "select", ("a", "s.b"), ()),
        ('select * from "Odd", "a b"', "select", ('"Odd"', '"a b"'), ()),
        ("with t as (select * from t) select * from t", "select", ("t",), ()),
        ("with a as (select 1 from b), b as (select 1 from a) select * from a, b", "select", ("b",), ()),
        (
            "with recursive r as (select 1 from base union all select 1 from r) select * from r",
            "select",
            ("base",),
            (),
        ),
        (
            "with x as (insert into log select * from src returning 1) select * from x",
            "select",
            ("src",),
            ("log",),
        ),
        ("with a as (select 1) select * from s.a", "select", ("s.a",), ()),
        ("select * from a where exists (select 1 from only b) for update of a", "select", ("a", "b"), ()),
        ("update t set n = 1 from u where t.id = u.id", "update", ("u",), ("t",)),
        ("insert into t select * from t", "insert", ("t",), ("t",)),
        ("merge into t using u on t.id = u.id when matched then delete", "merge", ("u",), ("t",)),
        ("copy t from stdin", "copy", (), ("t",)),
        ("copy t to stdout", "copy", ("t",), ()),
        ("truncate a, b", "truncate table", (), ("a", "b")),
        ("drop table s.a, b", "drop table", (), ("s.a", "b")),
        ("drop index i", "drop index", (), ()),
        ("create index i on t (a)", "create index", (), ("t",)),
        ("create table x as select * from y", "create table", ("y",), ("x",)),
        ("select * into x from y", "select", ("y",), ("x",)),
        ("begin", "transaction", (), ()),
    ],
)
def test_tables_read_and_written_are_told_apart(
    text: str, kind: str, reads: tuple[str, ...], writes: tuple[str, ...]
) -> None:
    """Names of WITH queries are no tables, but only where they hold."""
    statement = Statement(text)
    assert (statement.kind, statement.reads, statement.writes) == (kind, reads, writes)
    assert statement.tables == tuple(dict.fromkeys((*writes, *reads)))


def test_a_text_of_several_statements_is_split() -> None:
    """A semicolon in a string ends nothing, and comments are no statements."""
    found = Statement.split("select ';' ; -- one\n\nupdate t set a = 1;;\n/* end */")
    assert [one.kind for one in found] == ["select", "update"]
    assert Statement.split(" -- nothing") == ()


def test_the_place_of_an_error_counts_characters_and_not_bytes() -> None:
    """So that it can be shown below a text with any letters."""
    with pytest.raises(SqlInvalid) as caught:
        Statement("select 'éé' frm from")
    assert caught.value.position == 21
    assert "at character 21: syntax error at end of input" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no statement"),
        ("-- x", "no statement"),
        ("select 1; select 2", "2 statements"),
        ("select 1\0; drop table t", "NUL"),
        ("select '", "unterminated"),
        ("select " + "+".join(["1"] * 5_000), "nested more deeply"),
        # So many would end the process that reads them.
        ("select " + "+".join(["1"] * 45_000), "nested more deeply"),
        ("select 1, 2" + " union select 1, 2" * 20_000, "nested more deeply"),
    ],
)
def test_what_is_not_one_statement_is_refused(text: str, reason: str) -> None:
    """Empty, two at once, cut off, broken, or endless."""
    with pytest.raises(SqlInvalid, match=reason):
        Statement(text)


def test_without_postgast_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is no ImportError."""
    monkeypatch.delitem(sys.modules, "tercet.sql.postgast", raising=False)
    monkeypatch.setitem(sys.modules, "postgast", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'tercet\[advisor\]'"):
        Statement("select 1")
