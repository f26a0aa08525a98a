"""Which indexes are taken: the budget holds, nobody loses, and where nothing helps nothing is said."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tercet.advisor.candidate import Candidate, index_name
from tercet.advisor.candidates import housekeeping
from tercet.advisor.catalog import Activity, Catalog, Column, Standing, Statistics, Table
from tercet.advisor.choice import Observation, choose
from tercet.advisor.port import Costed, EngineKind, Refused, Supposed
from tercet.advisor.query import Example, Query
from tercet.clock import StoppedClock
from tercet.sql import Index, Node, Plan, Statement, View

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tercet.advisor.choice import Choice

ROWS, PAGES = 1_000_000.0, 20_000
MB = 1024 * 1024
_ASKED = re.compile(r"from (\w+) where (\w+) = (\S+)(?: and (\w+) = \S+)?")


@dataclass
class Planner:
    """A planner of its own: it takes the cheapest of reading a table whole and of each index that is there.

    An index finds a tenth of a percent of a table's rows by its first column, and a thousandth of those by its
    second. `loved` are indexes that it thinks cheaper than they are, as it does with loops whose pages are not at hand.
    """

    kind: EngineKind = "trial"
    why: str = "It is a model."
    rows: float = ROWS
    real: dict[str, Index] = field(default_factory=dict)
    loved: frozenset[str] = frozenset()
    asked: int = 0
    known: dict[str, Index] = field(default_factory=dict)

    async def suppose(self, indexes: Sequence[Index]) -> Mapping[str, Supposed | Refused]:
        for index in indexes:
            self.known[index.name] = index
        sizes = {index.name: 10 * MB * (len(index.keys) + len(index.include)) for index in indexes}
        return {
            name: Refused(name, "no such method") if self.known[name].method == "gin" else Supposed(name, size, 2)
            for name, size in sizes.items()
        }

    async def suppose_view(self, view: View, *, rows: float) -> Supposed | Refused:
        return Refused(view.qualified, f"no views, not of {rows:g} rows")

    async def cost(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Costed | Refused:
        plan = await self.plan(sql, using=using, hiding=hiding)
        return plan if isinstance(plan, Refused) else Costed(plan.root.cost, frozenset(plan.indexes))

    async def plan(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Plan | Refused:
        self.asked += 1
        match = _ASKED.search(sql)
        if match is None:
            return Refused(sql, "syntax error")
        table, first, value, second = match.groups()
        there = {name: self.known[name] for name in using} | {
            name: index for name, index in self.real.items() if name not in hiding
        }
        best = Node("Seq Scan", self.rows / 1000, self._whole, relation=table)
        for name, index in sorted(there.items()):
            node = self._by(name, index, table, {first, second} - {None}, value)
            if node is not None and node.cost < best.cost:
                best = node
        return Plan(best)

    async def close(self) -> None:
        self.known.clear()

    @property
    def _whole(self) -> float:
        return max(self.rows / 50, 1.0) + self.rows * 0.0125

    def _by(self, name: str, index: Index, table: str, columns: set[str | None], value: str) -> Node | None:
        keys = [key.of for key in index.keys]
        if index.table != ("public", table) or keys[0] not in columns:
            return None
        # A value that a third of all rows have.
        share = 0.3 if value == "'common'" else 0.001
        found = self.rows * share * (0.001 if len(keys) > 1 and keys[1] in columns else 1.0)
        condition = " AND ".join(f"({key} = 1)" for key in keys if key in columns)
        cost = 1.0 + found * (1.1 + 0.0175)
        if name in self.loved:
            inner = Node(
                "Index Scan", 1.0, 0.4, relation=table, index=name, alias=table, relationship="Inner",
                conditions=(("Index Cond", f"({keys[0]} = outer_side.id)"), ("Filter", "(x > 1)")),
            )  # fmt: skip
            outer = Node("Seq Scan", self.rows, 100.0, relation="small", alias="outer_side", relationship="Outer")
            return Node("Nested Loop", 1.0, self._whole * 0.9, join="Inner", children=(outer, inner))
        return Node("Index Scan", found, cost, relation=table, index=name, conditions=(("Index Cond", condition),))


def table(
    name: str, *, rows: float = ROWS, indexes: tuple[Standing, ...] = (), activity: Activity | None = None
) -> Table:
    """A table of three columns, its rows in no order."""
    columns = tuple(
        Column(
            column, number, "integer", "N", length=4, statistics=Statistics(width=4, distinct=1000.0, correlation=0.0)
        )
        for number, column in enumerate("abc", 1)
    )
    pages = max(int(rows / 50), 1)
    return Table(
        ("public", name), rows=rows, pages=pages, all_visible_pages=pages, size_bytes=pages * 8192, columns=columns,
        indexes=indexes, activity=activity or Activity(),
    )  # fmt: skip


def catalog(*tables: Table) -> Catalog:
    return Catalog(tables={one.name: one for one in tables}, settings={"random_page_cost": "1.1"})


def query(sql: str, *, calls: float = 1.0, ms: float | None = None, more: tuple[Example, ...] = ()) -> Query:
    weight = 1.0 - sum(one.weight for one in more)
    return Query(Statement(sql), (Example(sql, weight), *more), calls=calls, ms=ms, label=sql)


def candidate(name: str, *columns: str, queries: Sequence[Query] = (), method: str = "btree") -> Candidate:
    index = Index("x", ("public", name), columns, method=method)
    named = replace(index, name=index_name(index))
    return Candidate(named, "test", "asked by it", frozenset(one.fingerprint for one in queries))


def chosen(
    queries: Sequence[Query],
    candidates: Sequence[Candidate],
    known: Catalog,
    engine: Planner | None = None,
    *,
    budget: int | None = None,
    thorough: bool = False,
    window: float | None = None,
    observed: Sequence[Observation] = (),
) -> Choice:
    engine = engine or Planner()
    return asyncio.run(
        choose(
            queries, candidates, engine, known, budget_bytes=budget, thorough=thorough, seconds=1e9, window=window,
            suspects=housekeeping(known, queries), observed=observed, clock=StoppedClock(),
        )
    )  # fmt: skip


def names(choice: Choice) -> set[str]:
    return {one.candidate.name for one in choice.picked}


@pytest.mark.parametrize("thorough", [False, True])
def test_the_index_that_helps_is_taken_and_told(thorough: bool) -> None:
    """One statement, one index for it and one for nobody: the first is taken, with whom it helps and what it costs."""
    asks = query("select * from t where a = 1")
    choice = chosen([asks], [candidate("t", "a"), candidate("t", "b")], catalog(table("t")), thorough=thorough)
    (one,) = choice.picked
    assert one.candidate.name == "t_a_idx"
    assert one.helps == (asks.fingerprint,)
    assert choice.ms_after < choice.ms_before / 5
    assert one.benefit_ms == pytest.approx(choice.ms_before - choice.ms_after)
    assert one.write_cost.percent == pytest.approx(100.0)
    assert one.fragile == ()


@pytest.mark.parametrize("thorough", [False, True])
def test_nothing_is_said_where_nothing_helps(thorough: bool) -> None:
    """A small table, a workload that has its index already, and one whose candidates fit nothing: no advice."""
    small = chosen(
        [query("select * from t where a = 1")], [candidate("t", "a")], catalog(table("t", rows=200)),
        Planner(rows=200), thorough=thorough,
    )  # fmt: skip
    there = Standing(
        Index("t_a", ("public", "t"), ("a",)), "create index", 7, size_bytes=10 * MB, pages=1280, tuples=ROWS
    )
    optimal = chosen(
        [query("select * from t where a = 1")], [candidate("t", "a", "b")], catalog(table("t", indexes=(there,))),
        Planner(real={"t_a": there.index}), thorough=thorough,
    )  # fmt: skip
    useless = chosen(
        [query("select * from t where a = 1")], [candidate("t", "b")], catalog(table("t")), thorough=thorough
    )
    for choice in (small, optimal, useless):
        assert choice.picked == ()
        assert choice.dropped == ()
        assert choice.ms_after == choice.ms_before


@pytest.mark.parametrize("thorough", [False, True])
def test_no_workload_at_all_is_no_error(thorough: bool) -> None:
    """Without statements, and without candidates, there is nothing to say."""
    assert chosen([], [candidate("t", "a")], catalog(table("t")), thorough=thorough).picked == ()
    assert chosen([query("select * from t where a = 1")], [], catalog(table("t")), thorough=thorough).picked == ()


def test_what_the_planner_likes_and_the_clock_does_not_is_left() -> None:
    """An index that the planner would use for a million loops into cold pages makes the statement slower: not taken."""
    asks = query("select * from t where a = 1")
    liked = candidate("t", "a")
    known = catalog(table("t"), table("small"))
    choice = chosen([asks], [liked], known, Planner(loved=frozenset({liked.name})))
    assert choice.picked == ()
    assert chosen([asks], [liked], known).picked != ()


@pytest.mark.parametrize("thorough", [False, True])
def test_an_index_that_made_its_statement_slower_when_run_is_not_taken_again(thorough: bool) -> None:
    """What a run says of a plan counts for more than what is reckoned of it, in both directions."""
    asks = query("select * from t where a = 1")
    known, both = catalog(table("t")), [candidate("t", "a"), candidate("t", "a", "b")]
    first = chosen([asks], both, known, thorough=thorough)
    worse = Observation(asks.fingerprint, frozenset(names(first)), ms=30.0, ms_before=10.0)
    again = chosen([asks], both, known, thorough=thorough, observed=[worse])
    assert names(again) != names(first)
    better = Observation(asks.fingerprint, frozenset(names(first)), ms=0.1, ms_before=10.0)
    sure = chosen([asks], both, known, thorough=thorough, observed=[worse, better])
    assert names(sure) == names(first)
    assert sure.ms_after == pytest.approx(sure.ms_before / 100, rel=0.01)


def test_observations_of_others_say_nothing() -> None:
    """Statements and indexes that are not known here change nothing."""
    asks = query("select * from t where a = 1")
    strange = [
        Observation("somebody else's", frozenset({"t_a_idx"}), 30.0, 1.0),
        Observation(asks.fingerprint, frozenset({"t_z_idx"}), 30.0, 1.0),
    ]
    known = catalog(table("t"))
    assert names(chosen([asks], [candidate("t", "a")], known, observed=strange)) == {"t_a_idx"}


def test_one_statement_that_hardly_ends_does_not_drown_the_others() -> None:
    """Its index is taken, and those that the others need as well: what counts is what remains."""
    queries = [query("select * from t where a = 1", calls=3e3), query("select * from u where b = 1")]
    choice = chosen(queries, [candidate("t", "a"), candidate("u", "b")], catalog(table("t"), table("u")))
    assert names(choice) == {"t_a_idx", "u_b_idx"}


def test_the_quick_way_asks_few_and_the_same_each_time() -> None:
    """However many candidates there are, the planner is asked some dozen times for each statement."""
    queries = [query(f"select * from {name} where {key} = 1") for name in "tuv" for key in "abc"]
    candidates = [candidate(name, *keys) for name in "tuv" for keys in _KEYS]
    known = catalog(*(table(name) for name in "tuv"))
    one, two = (chosen(queries, candidates, known, budget=60 * MB) for _ in range(2))
    assert one.tried == two.tried <= 15 * len(queries)
    assert (one.ended, names(one)) == (True, names(two))


def test_a_statement_that_cannot_be_planned_does_not_stop_the_others() -> None:
    """It is told in the notes, and so is a candidate that the engine refuses; the rest is advised."""
    asks = query("select * from t where a = 1")
    broken = query("select 1 + 1")
    choice = chosen([broken, asks], [candidate("t", "a"), candidate("t", "b", method="gin")], catalog(table("t")))
    assert names(choice) == {"t_a_idx"}
    assert [one.fingerprint for one in choice.outlooks] == [asks.fingerprint]
    assert any("syntax error" in note for note in choice.notes)
    assert any("no such method" in note for note in choice.notes)


def test_the_times_that_were_measured_weigh() -> None:
    """Of two statements that plan alike, the index goes to the one that takes longer, if there is room for one."""
    queries = [query("select * from t where a = 1", ms=10.0), query("select * from t where b = 1", ms=90.0)]
    choice = chosen(queries, [candidate("t", "a"), candidate("t", "b")], catalog(table("t")), budget=10 * MB)
    assert names(choice) == {"t_b_idx"}
    assert choice.ms_before == pytest.approx(100.0, rel=0.01)


def test_what_writers_pay_is_weighed_against_what_readers_gain() -> None:
    """With a million inserts for each call, the index that saves little is not worth it; with none, it is."""
    asks = [query("select * from t where a = 1", ms=100.0)]
    busy = catalog(table("t", activity=Activity(inserted=1_000_000, seconds=60.0)))
    assert chosen(asks, [candidate("t", "a")], busy, window=60.0).picked == ()
    calm = chosen(asks, [candidate("t", "a")], catalog(table("t", activity=Activity(seconds=60.0))), window=60.0)
    assert calm.picked[0].write_cost.ms_a_second == 0.0


def test_an_update_that_stayed_on_its_page_is_told() -> None:
    """An index on a column that a statement of the workload sets costs that statement its HOT updates."""
    writes = query("update t set b = 2 where a = 1", calls=10.0)
    reads = query("select * from t where b = 1", calls=10.0)
    choice = chosen([writes, reads], [candidate("t", "b"), candidate("t", "a")], catalog(table("t")))
    by_name = {one.candidate.name: one.write_cost for one in choice.picked}
    assert by_name["t_b_idx"].hot_lost == (writes.fingerprint,)
    assert "t_a_idx" not in by_name or by_name["t_a_idx"].hot_lost == ()


def test_an_index_that_a_wider_one_replaces_goes() -> None:
    """The narrow index that is there is dropped for the wider one, but never one that a rule rests on."""
    asks = [query("select * from t where a = 1 and b = 2")]
    for constraint in (None, "u"):
        narrow = Standing(
            Index("t_a", ("public", "t"), ("a",)), "create index", 7, constraint=constraint, size_bytes=10 * MB,
            pages=1280, tuples=ROWS,
        )  # fmt: skip
        known = catalog(table("t", indexes=(narrow,)))
        choice = chosen(asks, [candidate("t", "a", "b")], known, Planner(real={"t_a": narrow.index}))
        assert names(choice) == {"t_a_b_idx"}
        assert [(one.standing.index.name, one.by) for one in choice.dropped] == (
            [] if constraint else [("t_a", "t_a_b_idx")]
        )


def test_an_index_that_is_asked_is_not_dropped_however_old() -> None:
    """One without a scan goes after some weeks, but not if a statement of the workload would be slower without it."""
    old = Activity(sequential_scans=500, seconds=40 * 86_400.0)
    kept = Standing(Index("t_a", ("public", "t"), ("a",)), "create index", 7, size_bytes=MB, pages=128, tuples=ROWS)
    idle = Standing(Index("t_c", ("public", "t"), ("c",)), "create index", 8, size_bytes=MB, pages=128, tuples=ROWS)
    known = catalog(table("t", indexes=(kept, idle), activity=old))
    engine = Planner(real={"t_a": kept.index, "t_c": idle.index})
    choice = chosen([query("select * from t where a = 1")], [], known, engine)
    assert [one.standing.index.name for one in choice.dropped] == ["t_c"]
    young = catalog(table("t", indexes=(kept, idle), activity=Activity(sequential_scans=500, seconds=86_400.0)))
    assert chosen([query("select * from t where a = 1")], [], young, engine).dropped == ()


def test_a_gain_for_some_values_only_is_called_fragile() -> None:
    """The planner's index is slower than the table for a value that many rows have: the gain is marked."""
    sql = "select * from t where a = 1"
    often = Example("select * from t where a = 'common'", 0.01, "common")
    choice = chosen([query(sql, more=(often,))], [candidate("t", "a")], catalog(table("t")), _Hasty())
    (one,) = choice.picked
    assert any("frequent value" in why for why in one.fragile)


class _Hasty(Planner):
    """Takes an index wherever there is one."""

    def _by(self, name: str, index: Index, table: str, columns: set[str | None], value: str) -> Node | None:
        node = super()._by(name, index, table, columns, value)
        return None if node is None else replace(node, cost=0.5)


def test_the_search_ends_when_its_time_does() -> None:
    """With no time at all the answer is still a whole one, and says that it was not searched to the end."""
    queries = [query("select * from t where a = 1"), query("select * from t where b = 1")]
    cut = asyncio.run(
        choose(
            queries, [candidate("t", "a"), candidate("t", "b")], Planner(), catalog(table("t")), budget_bytes=None,
            thorough=True, seconds=0.0, clock=StoppedClock(),
        )
    )  # fmt: skip
    assert not cut.ended
    assert cut.ms_after <= cut.ms_before


def test_the_progress_is_told() -> None:
    """Whoever listens hears what is being tried."""
    heard: list[str] = []
    asks = query("select * from t where a = 1")
    asyncio.run(
        choose(
            [asks], [candidate("t", "a")], Planner(), catalog(table("t")), budget_bytes=None, thorough=True,
            seconds=1e9, clock=StoppedClock(), on_progress=lambda what, _done, _of: heard.append(what),
        )
    )  # fmt: skip
    assert any(asks.label in what for what in heard)


_WORKLOADS = st.lists(
    st.tuples(st.sampled_from("tuv"), st.sampled_from("abc"), st.sampled_from(["", "a", "b", "c"]), st.integers(1, 50)),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one[:3],
)
_KEYS = (("a",), ("b",), ("c",), ("a", "b"), ("b", "a"), ("c", "a"))


def _workload(drawn: list[tuple[str, str, str, int]]) -> list[Query]:
    return [
        query(f"select * from {name} where {first} = 1" + (f" and {second} = 2" if second else ""), calls=float(calls))
        for name, first, second, calls in drawn
    ]


@settings(max_examples=25)
@given(drawn=_WORKLOADS, budget=st.integers(0, 90).map(lambda size: size * MB), thorough=st.booleans())
def test_the_budget_holds_and_nobody_loses(drawn: list[tuple[str, str, str, int]], budget: int, thorough: bool) -> None:
    """Whatever is asked: within the budget, nobody slower by a quarter, and the same answer for any order."""
    queries = _workload(drawn)
    candidates = [candidate(name, *keys) for name in "tuv" for keys in _KEYS]
    known = catalog(*(table(name) for name in "tuv"))
    choice = chosen(queries, candidates, known, budget=budget, thorough=thorough)
    assert choice.size_bytes <= budget
    assert choice.ms_after <= choice.ms_before
    assert all(one.ms_after <= one.ms_before * 1.25 + 0.05 for one in choice.outlooks)
    again = chosen(queries, candidates[::-1], known, budget=budget, thorough=thorough)
    assert names(again) == names(choice)
    free = chosen(queries, candidates, known, budget=None, thorough=thorough)
    assert free.ms_after <= choice.ms_after * 1.02 + 0.1


def test_an_index_is_unique_only_where_that_is_felt() -> None:
    """Of a rule that gains nothing only the plain index is left, though nobody had thought of that one."""
    asked = query("select * from t where a = 1")
    index = Index("t_a_once", ("public", "t"), ("a",), unique=True)
    rule = Candidate(index, "unique", "finds the rows by a", frozenset({asked.fingerprint}))
    (one,) = chosen([asked], [rule], catalog(table("t"))).picked
    assert one.candidate.index == Index("t_a_idx", ("public", "t"), ("a",))
    assert one.candidate.why == "finds the rows by a"
    assert one.rejected == ()


def test_a_column_that_nobody_feels_is_left_out() -> None:
    """A second key that saves less than a round trip takes goes, unless it is there for an order."""
    asked = query("select * from t where a = 1 and b = 2")
    small = catalog(table("t", rows=20_000.0))
    narrow, wide = candidate("t", "a", queries=[asked]), candidate("t", "a", "b", queries=[asked])
    few = Planner(rows=20_000.0)
    assert names(chosen([asked], [narrow, wide], small, engine=few)) == {"t_a_idx"}
    ordered = replace(wide, ordered=True)
    assert names(chosen([asked], [narrow, ordered], small, engine=few)) == {"t_a_b_idx"}
    assert names(chosen([asked], [narrow, wide], catalog(table("t")))) == {"t_a_b_idx"}
    # Half the size for nearly all of the gain.
    index = Index("t_a_few", ("public", "t"), ("a",), where="b = 2")
    part = Candidate(index, "partial", "", frozenset({asked.fingerprint}))
    assert names(chosen([asked], [wide, part], small, engine=few)) == {"t_a_few"}
    assert names(chosen([asked], [ordered, part], small, engine=few)) == {"t_a_b_idx"}
    assert names(chosen([asked], [ordered, replace(part, ordered=True)], small, engine=few)) == {"t_a_few"}


def test_what_was_not_picked_is_told_with_the_figures_that_speak_against_it() -> None:
    """Too little of a call, too little of everything, no room, too many writes; nothing where it is picked."""
    small, large = query("select * from t where a = 1", ms=13.0), query("select * from u where a = 1", calls=1e6)
    made = [candidate("t", "a", queries=[small]), candidate("u", "a", queries=[large])]
    known = catalog(table("t"), table("u"))
    choice = chosen([small, large], made, known)
    why = choice.why_not(small.fingerprint)
    assert names(choice) == {"u_a_idx"}
    assert re.match(r"t_a_idx would save 1\d\.\d ms of the 13 ms of a call, 1\d\.\d ms in all \(1 call\); its", why), (
        why
    )
    assert why.endswith("0.1% of what the workload takes at best")
    assert choice.why_not(large.fingerprint) == ""
    poor = chosen([small, large], made, known, budget=MB)
    assert "do not fit the budget" in poor.why_not(large.fingerprint)
    busy = catalog(table("t", activity=Activity(inserted=10**9, seconds=10.0)))
    written = chosen([small], made[:1], busy, window=10.0)
    assert "; its writes take " in written.why_not(small.fingerprint)
    tiny = catalog(table("t", rows=1000.0))
    felt = chosen([replace(small, ms=0.04)], made[:1], tiny, engine=Planner(rows=1000.0))
    assert felt.picked == ()
    assert "an index has to save" in felt.why_not(small.fingerprint)
