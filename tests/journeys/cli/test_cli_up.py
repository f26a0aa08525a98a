"""`tercet up`, `tercet status`, `tercet down`, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tercet

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCE = str(Path(tercet.__file__).parents[1])


def _tercet(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from tercet.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": _SOURCE, "PATH": "/usr/bin:/bin"},
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder to work in; no server of it runs afterwards."""
    yield tmp_path
    _tercet(tmp_path, "down")


def test_up_prints_addresses_for_a_shell_and_down_ends_them(project: Path) -> None:
    """The output can be evaluated; the second `up` says the same; every step has its exit code."""
    first = _tercet(project, "up", "--only", "redis,postgres")
    assert first.returncode == 0, first.stderr
    names = [line.partition("=")[0] for line in first.stdout.splitlines()]
    assert names == ["export TERCET_POSTGRES_URL", "export TERCET_REDIS_URL"]
    shell = f"{first.stdout}\necho $TERCET_REDIS_URL"
    evaluated = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=True).stdout.strip()
    assert evaluated.startswith("redis://127.0.0.1:")

    assert _tercet(project, "up", "--only", "postgres,redis").stdout == first.stdout
    shown = _tercet(project, "status", "--json")
    states = {one["store"]: one["state"] for one in json.loads(shown.stdout)}
    assert (shown.returncode, states) == (0, {"postgres": "running", "mongo": "absent", "redis": "running"})
    assert _tercet(project, "status").stdout.count("running") == 2

    assert _tercet(project, "down").stdout == "Stopped: postgres, redis.\n"
    assert _tercet(project, "status").returncode == 1
