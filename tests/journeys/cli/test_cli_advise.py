"""`tercet advise` on a real database: where statements come from, what is shown, and what is kept."""

from __future__ import annotations

import io
import json
import re
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tercet.advisor import Advice, Engine, Piece, Proof, StatementAdvice, Workload
from tercet.cli.main import FAILED, MISUSED, run


@dataclass
class _Asked:
    """What the advisor was asked, and what it answers."""

    workload: Workload | None = None
    options: dict[str, Any] = field(default_factory=dict)
    pieces: bool = True

    async def advise(self, _database: object, workload: Workload, **options: Any) -> Advice:
        """One index for the first statement."""
        self.workload, self.options = workload, options
        options["on_progress"]("trying orders (status)", 1, 2)
        piece = Piece(
            "index", "It is looked up.", ("create index x on orders (a)",), table="orders", columns=("a",), number=1
        )
        statements = tuple(
            StatementAdvice(one.fingerprint, one.sql, one.label, one.calls, one.ms or 10.0, 1.0, (1,), Proof("plan"))
            for one in workload.queries[:1]
        )
        return Advice(statements, (piece,) if self.pieces else (), Engine("shadow", "it is exact"), workload.source)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Asked:
    """The screen in a folder of its own, without the search itself, which has its own tests."""
    made, module = _Asked(), ModuleType("tercet.advisor.advisor")
    module.advise = made.advise  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "tercet.advisor.advisor", module)
    monkeypatch.chdir(tmp_path)
    return made


def _sqls(asked: _Asked) -> list[str]:
    assert asked.workload is not None
    return [query.sql for query in asked.workload.queries]


def test_statements_come_from_where_they_are_given(
    postgres_url: str, asked: _Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, folders, logs, the standard input, else pg_stat_statements."""
    (tmp_path / "slow.sql").write_text("select 1 from a")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.sql").write_text("select 1 from b")
    (tmp_path / "pg.log").write_text("LOG:  duration: 1.0 ms  statement: select 1 from c\n")
    assert run(["advise", postgres_url, "--query", "slow.sql", "--workload", "more"]) == 0
    assert _sqls(asked) == ["select 1 from a", "select 1 from b"]
    assert run(["advise", postgres_url, "--log", "pg.log"]) == 0
    assert _sqls(asked) == ["select 1 from c"]
    monkeypatch.setattr("sys.stdin", io.StringIO("select 1 from d"))
    assert run(["advise", postgres_url, "-"]) == 0
    assert _sqls(asked) == ["select 1 from d"]
    monkeypatch.setenv("TERCET_POSTGRES_URL", postgres_url)
    assert run(["advise"]) == 0
    assert asked.workload is not None
    assert asked.workload.source == "pg_stat_statements"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("select 1;\n\n-- name: a\nselec * from orders;\n", r"slow\.sql, line 4: .*syntax error"),
        ("", "holds no statement"),
        ("begin; set x = 1;", "holds no statement"),
        ("\x00\x01\ufffd", r"slow\.sql, line 1: "),
    ],
)
def test_a_file_without_a_statement_is_a_mistake(
    postgres_url: str, asked: _Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    """Nobody is told that all is well where nothing was looked at: the file, the line and the reason are."""
    (tmp_path / "slow.sql").write_text(text)
    assert run(["advise", postgres_url, "--query", "slow.sql"]) == MISUSED
    assert asked.workload is None
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(said, told), told


def test_a_log_without_a_statement_is_a_mistake(
    postgres_url: str, asked: _Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what the server would have to write."""
    (tmp_path / "pg.log").write_text("LOG:  checkpoint starting: time\n")
    assert run(["advise", postgres_url, "--log", "pg.log"]) == MISUSED
    assert asked.workload is None
    told = " ".join(capsys.readouterr().err.split())
    assert "the log pg.log" in told
    assert "log_min_duration_statement" in told


def test_wishes_reach_the_advisor(postgres_url: str, asked: _Asked, tmp_path: Path) -> None:
    """The budget in bytes, how long, and how it is verified."""
    (tmp_path / "slow.sql").write_text("select 1 from a")
    args = ["advise", postgres_url, "--query", "slow.sql"]
    assert run([*args, "--budget", "500MB", "--quick", "--verify", "off"]) == 0
    assert {name: asked.options[name] for name in ("budget", "thorough", "verify", "replica")} == {
        "budget": 500 << 20, "thorough": False, "verify": "off", "replica": None,
    }  # fmt: skip
    assert run([*args, "--verify", "replica", "--replica", postgres_url]) == 0
    assert asked.options["replica"] is not None
    assert asked.options["thorough"] is True


def test_what_is_shown_is_kept_and_explained(
    postgres_url: str, asked: _Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Off a terminal without colours and bars; the file holds no password and is its owner's alone."""
    (tmp_path / "slow.sql").write_text("select 1 from a")
    assert run(["advise", postgres_url, "--query", "slow.sql", "--html", "out.html"]) == 0
    out, err = capsys.readouterr()
    assert "slow " in out
    assert "10 ms → 1 ms" in out
    assert "  1  index    orders (a)" in out
    assert "Nothing was changed." in out
    assert "\x1b" not in out + err
    assert (tmp_path / "out.html").read_text().startswith("<!doctype html>")
    kept = tmp_path / ".tercet" / "advice.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    told = json.loads(kept.read_bytes())
    assert "@" not in told["place"]
    assert len(told["schema"]) == 32
    assert list(kept.parent.iterdir()) == [kept]
    assert run(["advise", "--explain", "1"]) == 0
    out, err = capsys.readouterr()
    assert "create index x on orders (a)" in out
    assert f"advice for {told['place']}" in err
    assert run(["advise", "--explain", "7"]) == MISUSED
    assert "Its pieces are: 1." in capsys.readouterr().err


def test_programs_get_json_and_an_exit_code(
    postgres_url: str, asked: _Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json is nothing but the document; --fail-on-advice tells a pipeline."""
    (tmp_path / "slow.sql").write_text("select 1 from a")
    args = ["advise", postgres_url, "--query", "slow.sql", "--json", "--fail-on-advice"]
    assert run(args) == FAILED
    assert json.loads(capsys.readouterr().out)["statements"][0]["ms_after"] == 1.0
    asked.pieces = False
    assert run(args) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mysql://x"], "no address of PostgreSQL"),
        (["postgresql://a", "postgresql://b"], "Several databases"),
        (["-", "--query", "x.sql"], "in several ways"),
        (["--query", "x.sql"], "no such file or folder"),
        (["--budget", "much"], "not a size"),
        (["--explain", "1"], "Ask for some first"),
        (["--verify", "replica", "--query", "one.sql"], "which replica"),
    ],
)
def test_what_cannot_be_meant_says_what_could(
    postgres_url: str, asked: _Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str,
) -> None:  # fmt: skip
    """Each with exit code 2, before anything is asked of the advisor."""
    (tmp_path / "one.sql").write_text("select 1 from a")
    monkeypatch.setenv("TERCET_POSTGRES_URL", postgres_url)
    assert run(["advise", *arguments]) == MISUSED
    assert said in " ".join(capsys.readouterr().err.split())
    assert asked.workload is None
