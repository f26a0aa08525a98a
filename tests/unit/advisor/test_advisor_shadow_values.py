"""What a shadow is worked out of: sizes of indexes, pages made by hand, which statements an index can matter to."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.advisor.catalog import Column, Statistics, Table
from tercet.advisor.shadow import explained
from tercet.advisor.shadow.making import ddl, extended, files
from tercet.advisor.shadow.making.origin import origins
from tercet.advisor.shadow.relevance import Relevance
from tercet.advisor.shadow.sizes import of_columns, size
from tercet.advisor.shadow.taken import dump as taken
from tercet.sql import Index

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 8192


def _column(name: str, distinct: float) -> Column:
    statistics = Statistics(width=4, distinct=distinct, correlation=1.0)
    return Column(name, 1, "integer", "N", not_null=True, statistics=statistics, length=4)


TABLE = Table(("public", "t"), pages=10_000, columns=(_column("id", -1), _column("few", 100), _column("many", 100_000)))


def test_a_unique_integer_takes_366_entries_a_leaf() -> None:
    """As PostgreSQL builds it: 2,733 leaves for a million rows, above them 10, above those one."""
    found = size(TABLE, Index("i", "t", ("id",)), 1_000_000)
    assert found.pages == pytest.approx(2745, abs=2)
    assert found.height == 2


def test_equal_keys_share_entries_and_only_where_they_may() -> None:
    """A hundred values take a third of the room, unless the type or a column carried along forbids it."""
    plain = size(TABLE, Index("i", "t", ("id",)), 1_000_000).pages
    few = Index("i", "t", ("few",))
    assert size(TABLE, few, 1_000_000).pages < plain / 2.5
    assert size(TABLE, few, 1_000_000, shared=False).pages == pytest.approx(plain, rel=0.01)
    assert size(TABLE, Index("i", "t", ("few",), include=("id",)), 1_000_000).pages >= plain


def test_what_is_known_of_several_columns_wins_over_the_product() -> None:
    """Columns that depend on each other have fewer combinations, and so a smaller index."""
    columns = (TABLE.columns[1], TABLE.columns[2])
    free = of_columns(TABLE, columns, 1_000_000)
    assert free == pytest.approx(952_000, rel=0.01)
    known = {frozenset(("few", "many")): 0.1}
    assert of_columns(TABLE, columns, 1_000_000, known) == 100_000
    index = Index("i", "t", ("few", "many"))
    assert size(TABLE, index, 1e6, known=known).pages < size(TABLE, index, 1e6).pages / 2


@given(
    rows=st.floats(0, 1e9),
    distinct=st.one_of(st.floats(-1, -1e-6), st.floats(1, 1e8)),
    nulls=st.floats(0, 1),
    method=st.sampled_from(["btree", "hash", "brin", "gin", "gist"]),
)
def test_every_index_has_a_size_that_its_rows_allow(rows: float, distinct: float, nulls: float, method: str) -> None:
    """At least a page, at most what every row alone would take, and finite, whatever the statistics say."""
    statistics = Statistics(null_fraction=nulls, width=8, distinct=distinct)
    table = Table(("s", "t"), pages=100, columns=(Column("a", 1, "text", "S", statistics=statistics),))
    found = size(table, Index("i", "t", ("a",), method=method), rows)
    assert 1 <= found.pages <= 10 + rows
    assert found.height is None or 0 <= found.height < 12


def test_a_tree_of_a_given_height_leads_from_its_root_to_the_leaf() -> None:
    """Each level points to the one below it, and the first page names the root."""
    built = bytearray(2 * PAGE)
    struct.pack_into("<H", built, PAGE + 8188, 3)
    made = files.btree(bytes(built), 3)
    root, level, fast, fast_level = struct.unpack_from("<IIII", made, 32)
    assert (root, level, fast, fast_level) == (4, 3, 4, 3)
    page = root
    for depth in range(3, 0, -1):
        at = page * PAGE
        assert struct.unpack_from("<I", made, at + PAGE - 8)[0] == depth
        (pointer,) = struct.unpack_from("<I", made, at + 24)
        high, low, _, _ = struct.unpack_from("<HHHH", made, at + (pointer & 0x7FFF))
        page = high << 16 | low
    assert page == 1
    assert struct.unpack_from("<H", made, PAGE + 8188)[0] == 1


def test_a_file_is_as_long_as_it_should_be_and_takes_no_room(tmp_path: Path) -> None:
    """Beyond a gigabyte it goes on in another one, and one that is just full has an empty one behind it."""
    owner = tmp_path.stat()
    for blocks in (0, 1, 131_072, 131_073, 300_000):
        path = tmp_path / str(blocks)
        files.write(path, b"x" * PAGE if blocks else b"", blocks, (owner.st_uid, owner.st_gid))
        assert files.length(path) == blocks
        assert path.stat().st_blocks * 512 < 100_000
    assert (tmp_path / "131072.1").stat().st_size == 0
    assert (tmp_path / "300000.2").exists()


def test_statistics_of_several_columns_get_the_numbers_that_columns_have_here() -> None:
    """A dropped column on production moves numbers; expressions, below zero, stay."""
    made = extended.ndistinct('{"2, 5": 200, "2, -1": 7}', {2: 2, 5: 4})
    assert struct.unpack_from("<III", made) == (0xA352BFA4, 1, 2)
    assert struct.unpack_from("<dihh", made, 12) == (200.0, 2, 2, 4)
    degrees = extended.dependencies('{"2 => 5": 0.5}', {2: 2, 5: 4})
    assert struct.unpack_from("<dhhh", degrees, 12) == (0.5, 2, 2, 4)


def test_only_the_outermost_columns_of_a_query_count() -> None:
    """What stands in a subquery, or in an expression, is no column of the answer."""
    inner = (
        "{QUERY :targetList ({TARGETENTRY :expr {VAR :varno 1} :resno 1 :resorigtbl 99 :resorigcol 9 :resjunk false})}"
    )
    argument = "{TARGETENTRY :resno 1 :resorigtbl 5 :resorigcol 5}"
    action = (
        f"({{QUERY :rtable ({{RTE :subquery {inner}}}) :targetList ({{TARGETENTRY :expr {{VAR :varno 1}} :resno 1 "
        ":resname a\\} :ressortgroupref 0 :resorigtbl 16 :resorigcol 3 :resjunk false} "
        f"{{TARGETENTRY :expr {{AGGREF :args ({argument})}} :resno 2 :resname s "
        ":resorigtbl 0 :resorigcol 0 :resjunk false}) :groupClause <>})"
    )
    assert origins(action) == {1: (16, 3)}


def test_an_index_matters_to_statements_that_name_its_table_or_what_may_read_it() -> None:
    """A part of a table goes by the whole's name, and a view or function may read everything."""
    part = taken.Relation(1, "s", "sales_1", "r", 1, 1, 1, 0, parents=(taken.Name("s", "Sales"),))
    about = taken.About(180006, PAGE, "UTF8", "C", "C", "c", None, ("public",))
    made = (taken.Made("function totals(integer)", ""), taken.Made("view public.seen", ""))
    whole = taken.Dump(about, {}, made[:1], (part,), (), made[1:], (), "[]", ())
    relevance = Relevance(whole)
    family = relevance.family("sales_1")
    assert family == {"sales_1", "Sales"}
    assert relevance.touches('select * from "sales"', family)
    assert not relevance.touches("select * from orders", family)
    assert relevance.touches("select totals(1)", family)
    assert relevance.touches("select * from seen", family)


def test_a_partition_is_made_as_a_part_and_names_are_quoted() -> None:
    """Whatever a name holds, it stays one name."""
    about = taken.About(180006, PAGE, "UTF8", "C", "C", "c", None, ("public",))
    column = taken.Column('a "b"', 1, "integer", True)
    parent = taken.Relation(1, "S", "Whole", "p", 0, 0, 0, 0, partition_key='LIST ("a ""b""")', columns=(column,))
    part = taken.Relation(2, "S", "Part", "r", 1, 1, 1, 0, bound="DEFAULT", parents=(taken.Name("S", "Whole"),))
    made = ddl.relations(taken.Dump(about, {}, (), (parent, part), (), (), (), "[]", ()))
    assert [one.ddl for one in made] == [
        'create table "S"."Whole" ("a ""b""" integer not null) partition by LIST ("a ""b""")',
        'create table "S"."Part" partition of "S"."Whole" DEFAULT',
    ]


def test_two_plans_are_the_same_if_their_steps_are() -> None:
    """Costs do not count; another index does."""
    text = '[{"Plan": {"Node Type": "Index Scan", "Index Name": "%s", "Total Cost": %s, "Plans": []}}]'
    one, dearer, other = (explained.read(text % pair) for pair in (("a", 1.5), ("a", 9), ("b", 1.5)))
    assert explained.shape(one) == explained.shape(dearer) != explained.shape(other)
    assert explained.indexes(one) == {"a"}
