"""Logs that nobody would hand over on purpose: each is read as far as it goes, or refused in a sentence."""

from __future__ import annotations

import gzip
import os
import random
import threading
from pathlib import Path

import pytest

from tercet.advisor.workload.logs import from_log
from tercet.errors import DocumentInvalid

GOOD = b"LOG:  duration: 1.0 ms  statement: select a from t\n"
JSON = b'{"error_severity":"LOG","message":"duration: 1.0 ms  statement: select a from t"}\n'
ROW = (
    b'2026-11-22 06:15:48.310 UTC,"u","shop",1,"h",s,1,"SELECT",t,1/0,0,LOG,00000,"duration: 1.0 ms  statement: '
    b'select a\nfrom t\r\nwhere x = \'2026-11-22 06:15:48 UTC, ""y""\n\'",,,,,,,,,"","b",,0\n'
)
NOISE = random.Random(7).randbytes(1 << 20)


def _log(tmp_path: Path, text: bytes) -> Path:
    path = tmp_path / "postgresql.log"
    path.write_bytes(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        NOISE,
        NOISE.replace(b"\n", b""),
        b"\x1f\x8b" + NOISE,
        gzip.compress(GOOD * 1_000)[:40],
        (GOOD * 3).decode().encode("utf-16"),
        b'{"a": 1}\n' + b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
        b'LOG:  duration: 1.0 ms  plan:\n\t{"Query Text": "select a from t", "Plan": ' + b"[" * 100_000 + b"\n",
        b"\x00" * 4_096,
    ],
    ids=["noise", "one line", "packed noise", "cut pack", "utf-16", "deep json", "deep plan", "zeroes"],
)
def test_what_is_no_log_tells_of_no_statement(tmp_path: Path, text: bytes) -> None:
    """It is read to its end, and what a server would have to write is said."""
    workload = from_log([_log(tmp_path, text)])
    assert workload.queries == ()
    assert "log_min_duration_statement" in workload.skipped[-1].why


@pytest.mark.parametrize(
    "bad",
    [
        b"LOG:  duration: 1.0 ms  statement: select " + b"1+" * 45_000 + b"1 from t\n",
        b"LOG:  duration: 1.0 ms  statement: select " + b"(" * 40_000 + b"1" + b")" * 40_000 + b" from t\n",
        b"LOG:  duration: 1.0 ms  statement: select a\x00 from t\n",
        b"2026-99-99 99:99:99 UTC [1] LOG:  duration: 1.0 ms  statement: commit\n",
        # A tab at its beginning makes a line part of the entry above.
        NOISE.replace(b"\n\t", b"\n") + b"\n",
    ],
    ids=["deep", "brackets", "nul", "no day", "noise"],
)
def test_one_bad_entry_costs_no_other(tmp_path: Path, bad: bytes) -> None:
    """Those before it and those after it are counted."""
    (query,) = from_log([_log(tmp_path, GOOD + bad + GOOD)]).queries
    assert (query.sql, query.calls) == ("select a from t", 2)


def test_a_time_that_cannot_be_is_no_time(tmp_path: Path) -> None:
    """Digits beyond all bounds would outweigh every other statement."""
    line = b"LOG:  duration: " + b"9" * 400 + b".0 ms  statement: select b from t\n"
    found = {query.sql: query.ms for query in from_log([_log(tmp_path, line + GOOD)], share=1.0).queries}
    assert found == {"select a from t": 1.0, "select b from t": None}


def test_fields_hold_lines_and_quotes_of_their_own(tmp_path: Path) -> None:
    """A row of csvlog is as long as its quotes say, also where its next line looks like another row."""
    (query,) = from_log([_log(tmp_path, ROW * 3)]).queries
    assert query.calls == 3
    assert query.sql.startswith("select a\nfrom t")
    assert '"y"' in query.sql


def test_lines_of_json_that_are_cut_cost_themselves_only(tmp_path: Path) -> None:
    """In the middle where a disk was full, and at the end where the server is still writing."""
    workload = from_log([_log(tmp_path, JSON + JSON[:40] + b"\n" + JSON + JSON[:-20])])
    assert [query.calls for query in workload.queries] == [2]
    assert [one.why for one in workload.skipped] == ["2 lines of the log could not be read"]


@pytest.mark.parametrize("how", ["truncated", "rotated"])
def test_a_log_that_moves_while_it_is_read_is_read_as_far_as_it_is_there(tmp_path: Path, how: str) -> None:
    """One that is copied and truncated ends there; one that was renamed is read on to its end."""
    path = _log(tmp_path, GOOD * 50_000)

    def move(_what: str, _done: int, _whole: int) -> None:
        if how == "truncated":
            os.truncate(path, 0)
        elif path.exists():
            path.rename(path.with_suffix(".1"))

    (query,) = from_log([path], on_progress=move).queries
    assert query.calls == 50_000 if how == "rotated" else 0 < query.calls < 50_000


def test_a_file_that_leaves_its_folder_is_told(tmp_path: Path) -> None:
    """Old logs are removed while newer ones are read."""
    for number in range(2):
        (tmp_path / f"{number}.log").write_bytes(GOOD)

    def remove(*_: object) -> None:
        (tmp_path / "1.log").unlink(missing_ok=True)

    workload = from_log([tmp_path], on_progress=remove)
    assert [query.calls for query in workload.queries] == [1]
    assert [one.why for one in workload.skipped] == ["1 files of the log were taken away before they were read"]


def test_a_pipe_is_a_log(tmp_path: Path) -> None:
    """As the shell makes one: --log <(zcat …)."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(GOOD * 3,))
    writer.start()
    (query,) = from_log([path]).queries
    writer.join()
    assert query.calls == 3


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-22 06:15:48 CET [1] LOG:  Dauer: 1.0 ms  Anweisung: select a from t\n",
        "2026-11-22 06:15:48 CET [1] LOG:  durée : 1.0 ms, instruction : select a from t\n",
        "2026-11-22 06:15:48 MSK [1] СООБЩЕНИЕ:  продолжительность: 1.0 мс, оператор: select a from t\n",
        "2026-11-22 06:15:48 JST [1] LOG:  期間: 1.0 ミリ秒 文: select a from t\n",
    ],
    ids=["de", "fr", "ru", "ja"],
)
def test_a_log_in_another_language_says_which_setting_is_meant(tmp_path: Path, line: str) -> None:
    """Nothing is guessed from words that are not known."""
    workload = from_log([_log(tmp_path, line.encode() * 3)])
    assert workload.queries == ()
    assert "lc_messages = 'C'" in workload.skipped[-1].why


def test_what_may_not_be_read_is_refused_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, and a folder that may not be looked into."""
    path = _log(tmp_path, GOOD)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(DocumentInvalid, match=r"postgresql\.log: Permission denied"):
        from_log([path])
    monkeypatch.setattr(Path, "is_dir", denied)
    with pytest.raises(DocumentInvalid, match=r"postgresql\.log: Permission denied"):
        from_log([path])


def test_a_folder_without_a_log_says_what_is_missing(tmp_path: Path) -> None:
    """A folder of folders is empty too."""
    (tmp_path / "log").mkdir()
    workload = from_log([tmp_path])
    assert workload.queries == ()
    assert "log_min_duration_statement" in workload.skipped[-1].why
