"""Logs in the forms that settings and shippers give them, and what is broken in them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from tercet.advisor.workload.logs import from_log
from tercet.errors import DocumentInvalid

_PREFIXES = {
    "default": "2026-11-22 06:15:48.310 UTC [7947] ",
    "none": "",
    "user and database": "2026-11-22 06:15:48 UTC [7]: [3-1] user=app,db=shop,app=web: LOGGER,client=10.0.0.1 ",
    "at": "2026-11-22 06:15:48.310 UTC app@shop ",
    "epoch": "1795328148.310 7947 6b028894.1f0b ",
    "colons": "2026-11-22 06:15:48 UTC:10.0.0.1(5432):app@shop:[7947]:",
}


def _log(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "postgresql.log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("prefix", _PREFIXES.values(), ids=_PREFIXES)
def test_any_prefix_is_passed_over(tmp_path: Path, prefix: str) -> None:
    """Nobody has to say which log_line_prefix was set."""
    text = (
        f"{prefix}LOG:  duration: 2.5 ms  execute <unnamed>: select a\n\tfrom t where b = $1\n"
        f"{prefix}DETAIL:  parameters: $1 = 'x'\n"
        f'{prefix}ERROR:  relation "nope" does not exist at character 15\n'
        f"{prefix}STATEMENT:  select 1 from nope\n"
        f"{prefix}LOG:  statement: select c from u\n"
    )
    workload = from_log([_log(tmp_path, text)], share=1.0)
    found = {query.sql: (query.calls, query.ms) for query in workload.queries}
    assert found == {"select a\nfrom t where b = 'x'": (1, 2.5), "select c from u": (1, None)}


def test_databases_are_told_apart_by_the_prefix(tmp_path: Path) -> None:
    """db=NAME and user@NAME; a prefix that does not say is taken."""
    text = "".join(f"{prefix}LOG:  duration: 1.0 ms  statement: select 1 from {name}\n" for prefix, name in (
        ("db=shop ", "a"), ("db=other,app=x ", "b"), ("me@shop ", "c"), ("me@other ", "d"), ("[1] ", "e"),
    ))  # fmt: skip
    workload = from_log([_log(tmp_path, text)], database="shop", share=1.0)
    assert {query.sql[-1] for query in workload.queries} == {"a", "c", "e"}


def test_lines_from_syslog_are_put_together(tmp_path: Path) -> None:
    """Its own head before each line, and tabs written as #011."""
    head = "Nov 22 06:15:48 host postgres[7947]: "
    text = (
        f"{head}[5-1] 2026-11-22 06:15:48 UTC LOG:  duration: 3.0 ms  statement: select a\n"
        f"{head}[5-2] #011from t\n{head}[6-1] 2026-11-22 06:15:49 UTC LOG:  checkpoint starting: time\n"
    )
    workload = from_log([_log(tmp_path, text)])
    assert [(query.sql, query.ms) for query in workload.queries] == [("select a\nfrom t", 3.0)]


def test_parse_and_bind_are_no_runs(tmp_path: Path) -> None:
    """Nor is what is fetched from a portal once more, though its time counts."""
    lines = ("parse s", "bind s/p", "execute s/p", "execute fetch from s/p")
    text = "".join(f"LOG:  duration: 1.0 ms  {what}: select a from t\n" for what in lines)
    (query,) = from_log([_log(tmp_path, text)]).queries
    assert (query.calls, query.total_ms) == (1, 2.0)


def test_broken_lines_are_counted_and_the_others_are_read(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, lines of somebody else, an entry without an end."""
    good = b"LOG:  duration: 1.0 ms  statement: select a from t\n"
    text = b"\xff\xfe garbage\n" + good + b"somebody else's line\n" + good + b"LOG:  duration: 1.0 ms  statement: sel"
    workload = from_log([_log(tmp_path, text)])
    assert [query.calls for query in workload.queries] == [2]
    said = "\n".join(one.why for one in workload.skipped)
    assert "2 lines of the log could not be read" in said
    assert "1 lines of the log are not UTF-8" in said
    assert "syntax error" in said


def test_broken_rows_of_csv_and_json_are_counted(tmp_path: Path) -> None:
    """A quote that never closes costs what is before the next row, not the rest of the log."""
    head = '2026-11-22 06:15:48.310 UTC,"u","shop",1,"h",s,1,"SELECT",t,1/0,0,LOG,00000'
    row = f'{head},"duration: 1.0 ms  statement: select a from t",,,,,,,,,"","b",,0\n'
    broken = row.replace('from t"', "from t")
    workload = from_log([_log(tmp_path, row + "2026-11-22 06:15:48 UTC,too,short\n" + row)])
    assert [query.calls for query in workload.queries] == [2]
    assert [one.why for one in workload.skipped] == ["1 lines of the log could not be read"]
    many = from_log([_log(tmp_path, row + broken + row * 9000)])
    assert many.queries[0].calls > 100
    line = '{"error_severity":"LOG","dbname":"shop","message":"duration: 1.0 ms  statement: select a from t"}\n'
    found = from_log([_log(tmp_path, line + '{"message": \n[]\n' + line)])
    assert [query.calls for query in found.queries] == [2]
    assert [one.why for one in found.skipped] == ["2 lines of the log could not be read"]


def test_a_log_that_tells_nothing_says_what_to_set(tmp_path: Path) -> None:
    """An empty one, one without durations, and one in another language."""
    for text in ("", "LOG:  checkpoint starting: time\n", "LOG:  Dauer: 1,0 ms  Anweisung: select a from t\n"):
        workload = from_log([_log(tmp_path, text)])
        assert workload.queries == ()
        assert "log_min_duration_statement" in workload.skipped[-1].why
    with pytest.raises(DocumentInvalid, match="no such file or folder"):
        from_log([tmp_path / "nowhere"])


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """A line of many megabytes, and many lines, are read in pieces."""
    path = tmp_path / "postgresql.log"
    with path.open("w") as file:
        file.write(f"LOG:  duration: 9.0 ms  statement: insert into t values ('{'x' * (24 << 20)}')\n")
        for number in range(4_000):
            file.write(f"LOG:  duration: 1.0 ms  statement: select a from t where b = {number} and c = '{'y' * 400}'\n")
    tracemalloc.start()
    workload = from_log([path])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20
    assert workload.queries[0].calls == 4_000
    assert [one.why for one in workload.skipped] == ["1 lines of the log could not be read"]
