"""Trees: read from SQL, asked, changed, written."""

from __future__ import annotations

import pytest

from tercet.errors import SqlInvalid
from tercet.sql.tree import Tree, parse, write

STATEMENTS = (
    "SELECT a, count(*) FILTER (WHERE b > 0) FROM t WHERE c = 'x' GROUP BY a HAVING sum(d) > 0 ORDER BY 2 LIMIT 9",
    "WITH w AS (SELECT 1 AS n) SELECT * FROM w JOIN LATERAL (SELECT w.n) AS l ON true",
    "INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = excluded.a RETURNING *",
    "UPDATE t SET a = a + 1 WHERE b IN (1, 2, 0)",
    "SELECT ARRAY[1, 2] || '{3}'::int[], x ->> 'k', CASE WHEN y IS NULL THEN false ELSE NOT z END FROM \"Odd t\"",
)


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_tree_is_written_as_the_statement_that_it_was_read_from(sql: str) -> None:
    """Reading what was written gives the same tree."""
    tree = parse(sql)
    assert parse(write(tree)) == tree


def test_trees_are_equal_whatever_the_spaces_and_places() -> None:
    """Two texts that differ in spaces and comments have one tree, and one hash."""
    first, second = parse("select  a from t -- x"), parse("SELECT a\nFROM t")
    assert first == second
    assert hash(first) == hash(second)


def test_a_text_that_was_read_is_not_read_again() -> None:
    """Trees are values, so everybody may have the same one."""
    assert parse("select 1 from once") is parse("select 1 from once")


def test_a_change_reaches_every_node_and_leaves_the_first_tree_alone() -> None:
    """mapped makes a new tree; the old one says what it said."""
    tree = parse("select a from t where a > (select max(a) from t)")
    renamed = tree.mapped(lambda node: node.replaced(relname="u") if node.kind == "RangeVar" else node)
    assert write(renamed) == "SELECT a FROM u WHERE a > (SELECT max(a) FROM u)"
    assert write(tree) == "SELECT a FROM t WHERE a > (SELECT max(a) FROM t)"


def test_an_expression_is_written_by_itself() -> None:
    """What is inside of a statement can be written alone."""
    where = parse("select 1 from t where lower(email) = 'x' and not (a or b)").tree("where_clause")
    assert where is not None
    assert write(where) == "lower(email) = 'x' AND NOT (a OR b)"


def test_fields_that_are_left_out_read_as_nothing() -> None:
    """An absent field is None, an empty tuple or an empty word."""
    tree = parse("select 0")
    assert (tree.tree("where_clause"), tree.trees("from_clause"), tree.text("nothing")) == (None, (), "")
    assert tree.replaced(target_list=None) == Tree("SelectStmt", tuple(p for p in tree.parts if p[0] != "target_list"))


@pytest.mark.parametrize("sql", ["", "select 1; select 2", "selekt", "select '\0'"])
def test_what_is_not_one_statement_is_refused(sql: str) -> None:
    """No statement, two, a broken one, and one that holds a NUL raise SqlInvalid."""
    with pytest.raises(SqlInvalid):
        parse(sql)
