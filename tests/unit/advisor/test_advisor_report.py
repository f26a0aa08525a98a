"""The advice as JSON, as a page, as lines, and as it is kept: the same in each."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tercet.advisor import Advice, CachePolicy, Engine, Piece, Proof, Rejected, Rewrite, StatementAdvice
from tercet.advisor.report import Kept, explained, to_bytes, to_html, to_json, to_text
from tercet.advisor.report.text import Line
from tercet.errors import DocumentInvalid
from tercet.sql import Expression, Index, Key, Plan, View

_EVIL = "<script>alert('x')</script>\"&\x00\x1b[31m"


def _plan(index: str | None, ms: float) -> Plan:
    scan: dict[str, object] = {
        "Node Type": "Index Scan" if index else "Seq Scan",
        "Relation Name": "orders",
        "Alias": "o",
    }
    scan |= {"Index Name": index} if index else {"Rows Removed by Filter": 4900}
    scan |= {"Filter": f"(note = '{_EVIL}')", "Startup Cost": 0, "Total Cost": 80, "Plan Rows": 1, "Plan Width": 4}
    scan |= {"Actual Startup Time": 0, "Actual Total Time": ms - 1, "Actual Rows": 100, "Actual Loops": 1}
    scan |= {"Shared Hit Blocks": 1234, "Shared Read Blocks": 6}
    top: dict[str, object] = {
        "Node Type": "Limit",
        "Startup Cost": 0,
        "Total Cost": 81,
        "Plan Rows": 100,
        "Plan Width": 4,
    }
    top |= {"Actual Startup Time": 0, "Actual Total Time": ms, "Actual Rows": 100, "Actual Loops": 1, "Plans": [scan]}
    return Plan.read([{"Plan": top, "Planning Time": 0.1, "Execution Time": ms}])


_INDEX = Index("orders_x", "orders", (Key("at", descending=True), Expression("lower(a)")), ("id",), "status = 'a'")
_ADVICE = Advice(
    statements=(
        StatementAdvice(
            "f1", f"select '{_EVIL}'", "orders of a day", 1200, 2790.0, 367.0, (1, 3),
            Proof("run", True, (7.1, 8.4), 310.0, 5000, 400, "same 100 rows"),
            _plan(None, 2790.0), _plan("orders_x", 367.0), ("shop/orders.py:88",), (), "select 2",
        ),
        StatementAdvice("f2", "select b from t", "second", 3, 50.0, 40.0, (1,), Proof("plan"), _plan(None, 50.0)),
        StatementAdvice("f3", "select c from t", _EVIL, 5, 88.0, None, notes=("no candidate was 10 % faster",)),
    ),
    pieces=(
        Piece(
            "index", f"Because of {_EVIL}.", ("create index concurrently orders_x on orders (at desc)",),
            ("drop index concurrently orders_x",), "orders", ("at desc", "lower(a)"), ("id",), "status = 'a'", "btree",
            11 << 20, 3.0, helps=("f1", "f2"), rejected=(Rejected("orders (at)", "reads nine times as many pages"),),
            value=_INDEX, number=1,
        ),
        Piece("drop_index", "Nobody uses it.", table="t", columns=("b",), size_bytes=1 << 20, number=2),
        Piece("rewrite", "Not null.", value=Rewrite("f1", "a", "select 2", ("not_in",), ("b is not null",)), number=3),
        Piece("cache", "Asked often.", value=CachePolicy("f1", "user", "k:{id}", ("t",), ("@cache()",)), number=4),
        Piece("view", "Sums.", size_bytes=48 << 20, refresh_seconds=1.9, number=5, fragile=True,
              value=View("stats", "select 1 as id", ("id",), (Index("stats_x", "stats", ("id",)),))),
    ),
    engine=Engine("shadow", "no extension is needed", 0.002, 0.0004, 21, 22, 110_000, 0.4, 1210, 3.4),
    source="pg_stat_statements",
    budget_bytes=500 << 20,
    notes=("2 statements are not shown",),
)  # fmt: skip


class _Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _plain(lines: tuple[Line, ...]) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_the_json_has_the_form_that_is_promised() -> None:
    """The names of the fields, in their order; the proof inside of each statement."""
    told = json.loads(to_bytes(_ADVICE))
    assert told == to_json(_ADVICE)
    assert list(told) == ["statements", "advice", "total", "source", "engine", "notes"]
    first = told["statements"][0]
    assert list(first)[:4] == ["fingerprint", "sql", "label", "calls"]
    assert first["proof"] | {"same_rows": True, "method": "run", "interval": [7.1, 8.4]} == first["proof"]
    assert first["plan_after"]["root"]["children"][0]["index"] == "orders_x"
    index = told["advice"][0]
    assert {name: index[name] for name in ("kind", "table", "columns", "include", "where", "method", "size_bytes")} == {
        "kind": "index", "table": "orders", "columns": ["at desc", "lower(a)"], "include": ["id"],
        "where": "status = 'a'", "method": "btree", "size_bytes": 11 << 20,
    }  # fmt: skip
    assert index["helps"] == ["f1", "f2"]
    assert index["rejected"] == [{"what": "orders (at)", "why": "reads nine times as many pages"}]
    assert told["total"]["ms_before"] == 1200 * 2790 + 3 * 50 + 5 * 88
    assert told["total"]["ms_after"] == 1200 * 367 + 3 * 40 + 5 * 88
    assert told["total"]["size_bytes"] == 58 << 20
    assert to_bytes(_ADVICE) == to_bytes(replace(_ADVICE))


def test_the_page_is_one_page_and_nothing_in_it_runs() -> None:
    """Every text is escaped, every element closed, nothing comes from elsewhere."""
    html = to_html(_ADVICE)
    page = _Page(html)
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert "<script" not in html
    assert "<script>alert('x')</script>\"&" in page.text
    assert "\x00" not in html
    assert "\x1b" not in html
    assert [value for _, attributes in page.tags for key, value in attributes.items() if key in {"src", "action"}] == []
    links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    ids = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert links
    assert set(links) <= ids
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html


def test_the_page_has_verdicts_first_and_both_plans() -> None:
    """What gets faster, then what to do, then what was left alone; the new index stands out."""
    html = to_html(_ADVICE)
    places = [
        html.index(text) for text in ("2 of 3 statements can be faster", "What gets faster", "What to do", "Left alone")
    ]
    assert places == sorted(places)
    for text in ("Before: 2.79 s", "After: 367 ms", "1,240 pages", "proved, same 100 rows", "orders of a day", "×7.6"):
        assert text in html, text
    assert 'class="title new"' in html
    assert "planned 1" in html


def test_the_lines_tell_each_piece_once_and_end_with_what_was_changed() -> None:
    """Wide and narrow alike; a piece that helps two is told with the first."""
    for width in (120, 60):
        text = _plain(to_text(_ADVICE, width=width))
        assert text.count("orders (at desc, lower(a)) include (id) where status = 'a'") == 1
        assert "with 1 above" in text
        assert "2.79 s → 367 ms" in text
        assert "proved, same 100 rows" in text
        assert "left alone: no candidate was 10 % faster" in text
        assert "It costs: a write to orders 3.0 % slower, 58 MB more on the disk.   Nothing was changed." in text
        assert "its cost is 0.04% off on average, 0.20% at worst" in text
        assert "1 MB back" in text
        assert "fragile" in text
    wide = _plain(to_text(_ADVICE, width=120)).splitlines()
    assert wide[0].startswith("orders of a day ")


def test_no_escape_sequence_reaches_a_terminal() -> None:
    """A statement's text may hold anything."""
    for lines in (to_text(_ADVICE), explained(_ADVICE, 1) or ()):
        assert "\x1b" not in _plain(lines)
        assert "\x00" not in _plain(lines)


def test_a_piece_is_explained_with_all_that_is_known() -> None:
    """Why, how, its plans, what else was tried; None for one that is not there."""
    text = _plain(explained(_ADVICE, 1) or ())
    for wanted in (
        "Because of", "create index concurrently orders_x", "drop index concurrently orders_x", "estimated 310 ms",
        "between 7.10 and 8.40 times", "shop/orders.py:88", "Index Scan on orders o using orders_x", "before", "after",
        "reads nine times as many pages",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert explained(_ADVICE, 9) is None


def test_advice_without_anything_is_told_calmly() -> None:
    """No statement, no piece, no engine."""
    nothing = Advice((), (), None, "stdin")
    assert "No statement was found" in _plain(to_text(nothing))
    assert _Page(to_html(nothing)).open == []
    assert to_json(nothing)["total"] == {
        "ms_before": None, "ms_after": None, "size_bytes": 0, "budget_bytes": None, "statements": 0, "improved": 0,
    }  # fmt: skip


def test_rows_that_differ_are_said_loudly() -> None:
    """A claim that did not hold is no proof."""
    first = replace(_ADVICE.statements[0], proof=Proof("run", False, sentence="3 rows are missing"))
    advice = replace(_ADVICE, statements=(first,))
    assert ("    NOT the same rows: 3 rows are missing", "bad") in [part for line in to_text(advice) for part in line]
    assert 'class="chip bad">NOT the same rows' in to_html(advice)


def test_kept_advice_comes_back_as_it_was() -> None:
    """All its values, indexes and plans included."""
    kept = Kept(_ADVICE, "db.example.com:5432/shop", 1_800_000_000.5, "abc")
    assert Kept.from_bytes(kept.to_bytes()) == kept


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b'{"form": 99}',
        b"\xff",
        b'{"form":1,"place":"","made_at":0,"schema":"","advice":{"is":"os"}}',
    ],
)
def test_what_is_no_kept_advice_is_refused(text: bytes) -> None:
    """A broken file says to ask once more."""
    with pytest.raises(DocumentInvalid, match="tercet advise"):
        Kept.from_bytes(text)


def _shown(advice: Advice) -> str:
    return _plain(to_text(advice))


def test_a_unique_index_is_called_so() -> None:
    """It refuses rows from then on: that stands in the line, and not only in its statement."""
    ruled = replace(_ADVICE.pieces[0], value=replace(_INDEX, unique=True))
    assert "unique orders (" in _shown(replace(_ADVICE, pieces=(ruled, *_ADVICE.pieces[1:])))
    assert "unique orders (" not in _shown(_ADVICE)


def test_a_piece_that_is_for_no_statement_stands_apart() -> None:
    """Below the last statement it would seem to be for that one."""
    lines = _shown(_ADVICE).splitlines()
    apart = next(at for at, line in enumerate(lines) if line.startswith("Besides"))
    assert lines[apart + 1].split()[:2] == ["2", "drop"]
    assert "Besides" not in _shown(replace(_ADVICE, pieces=_ADVICE.pieces[:1]))
