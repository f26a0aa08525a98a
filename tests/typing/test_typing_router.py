"""Entities as type checkers see them: fields have their types, and what cannot be is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "src"

# Not a file: it would be refused by every other check of this repository too.
WRONG = """
from tercet.router import Entity, Router, mongo, redis


class Customer(Entity, key=int):
    name: str = mongo("names", on="_id", field="name")
    status: dict[str, str] | None = redis.hash("status:{key}")


async def main(router: Router) -> None:
    customer = await router.load(Customer, 42)
    customer.nick  # refused
    customer.name = "x"  # refused
    number: int = customer.name  # refused
    customer.status["page"]  # refused
    Customer(key=1, name=2)  # refused
    Customer(key=1, name="a", nick="b")  # refused
    await router.load(Customer, 42, until=3)  # refused
    await router.load("Customer", 42)  # refused
    (await router.find(Customer, 42)).name  # refused
    for one in await router.load_many(Customer, [1]):
        one.entity  # refused
    mongo("names")  # refused
    redis.list("names")  # refused
"""

WANTED = {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# refused")}


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """The program that is wrong in every line that says so."""
    path = tmp_path / "router_fail.py"
    path.write_text(WRONG)
    return path


def test_mypy_sees_the_fields_of_an_entity_and_refuses_what_is_wrong(wrong: Path) -> None:
    """Each wrong line is found before the program runs, and nothing else is complained of."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(HERE / "router_pass.py"), str(wrong)]
    environ = {**os.environ, "MYPYPATH": str(SOURCE)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd=SOURCE.parent)
    assert done.stderr == ""
    assert "router_pass.py" not in done.stdout, done.stdout
    assert set(map(int, re.findall(r"router_fail\.py:(\d+): error", done.stdout))) == WANTED, done.stdout


def test_pyright_sees_the_fields_of_an_entity_and_refuses_what_is_wrong(wrong: Path) -> None:
    """The other checker, in its strict mode."""
    program = shutil.which("basedpyright", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("basedpyright is not installed")
    settings = {
        "include": [str(HERE / "router_pass.py"), str(wrong)],
        "extraPaths": [str(SOURCE)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
    }
    (wrong.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [program, "--project", str(wrong.parent), "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["message"])
        for one in json.loads(done.stdout)["generalDiagnostics"]
        if one["severity"] == "error"
    ]
    assert [one for one in found if one[0] != "router_fail.py"] == []
    assert {line for _, line, _ in found} == WANTED, found
