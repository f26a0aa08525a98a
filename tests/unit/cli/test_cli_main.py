"""The command itself: its list, its exit codes, its sentences."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from unittest.mock import Mock

import pytest

import tercet
from tercet.cli import group
from tercet.cli.main import run
from tercet.cli.screen import Screen
from tercet.errors import FolderBusy, SettingInvalid, TercetError

_SOURCE = str(Path(tercet.__file__).parents[1])


def _python(code: str, *, path: str = _SOURCE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path}, check=False
    )


@pytest.mark.parametrize(("name", "module"), [(name, module) for name, module, _ in group.COMMANDS])
def test_every_command_is_where_the_list_says(name: str, module: str) -> None:
    """It loads, has that name, and says what it does."""
    command = getattr(import_module(module), name)
    assert command.name == name
    assert command.help


def test_the_list_loads_no_command_and_no_driver() -> None:
    """So that `tercet --help` answers at once."""
    code = (
        "import sys; from tercet.cli.main import run; run(['--help']);"
        "print([m for m in sys.modules if m.startswith(('tercet.servers', 'asyncpg', 'pymongo', 'redis'))])"
    )
    assert _python(code).stdout.splitlines()[-1] == "[]"


def test_the_list_shows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """With its line."""
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown and line in shown for name, _, line in group.COMMANDS)


@pytest.mark.parametrize("arguments", [["nope"], ["up", "--only", "mysql"], ["up", "--nope"]])
def test_a_misspelt_command_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong goes to the standard error, and nothing to the output."""
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert "Error" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FolderBusy("/x", pid=1, command="init"), 1),
        (SettingInvalid("folder", where="here", shown="1", wanted="2"), 2),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 1),
    ],
)
def test_an_error_has_its_exit_code_and_one_sentence(
    error: BaseException, code: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback; the mend stands behind what happened, on one line."""

    def fail(_arguments: object) -> int:
        raise error

    monkeypatch.setattr(group, "invoke", fail)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert run([]) == code
    assert capfd.readouterr().err == (f"{error}\n" if isinstance(error, TercetError) else "")


def test_without_click_the_command_says_what_to_install() -> None:
    """And no traceback."""
    code = "import sys; sys.modules['click'] = None; from tercet.cli.main import main; main()"
    ended = _python(code)
    assert ended.returncode == 2
    assert ended.stderr == (
        "The tercet command needs the module click, which is not installed. "
        "Install it with: pip install 'tercet[cli]'\n"
    )


def test_status_of_a_folder_without_servers_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people and for programs."""
    assert run(["status", "--folder", str(tmp_path)]) == 1
    assert "absent" in capsys.readouterr().out
    assert run(["status", "--folder", str(tmp_path), "--json"]) == 1
    assert [one["state"] for one in json.loads(capsys.readouterr().out)] == ["absent"] * 3


def test_down_where_nothing_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not an error: nothing runs, which is what was wanted."""
    assert run(["down", "--folder", str(tmp_path)]) == 0
    assert "No server runs in" in capsys.readouterr().out


def test_a_table_is_aligned_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures to the right, wide letters counted as they are shown, long cells whole."""
    Screen().table(("store", "ms", "url"), [("한국", "1", "u" * 300), ("redis", "12", "")], right=(1,))
    assert capsys.readouterr().out.splitlines() == ["store  ms  url", f"한국    1  {'u' * 300}", "redis  12"]


def test_progress_is_not_shown_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A log file gets results, not spinners; the displays work all the same."""
    screen = Screen()
    with screen.bars() as bars:
        bars.tell("orders", 3, 10)
        bars.tell("orders", 10, 10)
        bars.tell("of nobody knows how much", 7, 0)
    with screen.steps("postgres", "redis") as steps:
        steps.tell("postgres", "starting")
        steps.tell("postgres", "ready", last=True)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


class _NoRoomError(Exception):
    sqlstate = "53100"


def test_what_postgresql_refuses_is_told_with_its_mend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its own code, whoever has wrapped it; any other fault is shown as one."""

    def fails(error: Exception) -> int:
        monkeypatch.setattr(group, "invoke", Mock(side_effect=error))
        return run([])

    wrapped = RuntimeError("outside")
    wrapped.__cause__ = _NoRoomError("could not extend file: No space left on device")
    assert fails(wrapped) == 1
    assert "Make room on the server's disk" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        fails(ZeroDivisionError())
