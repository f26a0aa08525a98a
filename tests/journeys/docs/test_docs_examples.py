"""The examples on the pages: all can be compiled, their imports exist, and the whole ones run."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType

import asyncpg
import pytest

ROOT = Path(__file__).parents[3]

# Both cores may be taken: nothing here is about how fast an example is.
PATIENCE_SECONDS = 120.0

# Runs a program as it is, and lets Redis answer late: a deadline of 40 ms is missed where all cores are taken.
_PATIENTLY = """
import importlib, runpy, sys
importlib.import_module("tercet.cache.cache").DEADLINE_SECONDS = 30.0
importlib.import_module("tercet.wire.wire").Wire.__init__.__kwdefaults__["deadline"] = 30.0
runpy.run_path(sys.argv[1], run_name="__main__")
"""

# A fence of Python, with the mark that may stand on the line before it.
_FENCE = re.compile(r"^(?:<!-- (?P<mark>[\w ]+) -->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One block of Python on a page."""

    place: str
    mark: str
    code: str
    below: str


def _examples() -> list[Example]:
    pages = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for fence in _FENCE.finditer(text):
            line = text.count("\n", 0, fence.start("code")) + 1
            place = f"{page.relative_to(ROOT).as_posix()}:{line}"
            found.append(Example(place, fence["mark"] or "", fence["code"], text[fence.end() :]))
    return found


EXAMPLES = _examples()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.place)
def test_an_example_can_be_compiled_and_what_it_imports_exists(example: Example) -> None:
    """A name that has moved or gone is found on the page that still shows it."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    tree = compile(example.code, example.place, "exec", flags=flags)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {
            "tercet",
            "tercet_shop",
        }:
            home = import_module(node.module or "")
            assert [name.name for name in node.names if not hasattr(home, name.name)] == []


def _marked(mark: str) -> list[Example]:
    return [one for one in EXAMPLES if one.mark == mark]


@pytest.mark.parametrize("example", _marked("runs"), ids=lambda one: one.place)
async def test_an_example_that_needs_no_server_runs(example: Example) -> None:
    """What is shown is what happens; the assertions in it hold."""
    code = compile(example.code, example.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = FunctionType(code, {"__name__": "__main__"})()
    if inspect.iscoroutine(running):
        await running


@pytest.mark.parametrize("example", _marked("runs with servers"), ids=lambda one: one.place)
def test_an_example_that_is_a_whole_program_runs(
    example: Example, tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    """Run as a user would, in a folder of its own, with the addresses of servers in the environment."""
    _run(example, tmp_path, {"TERCET_POSTGRES_URL": postgres_url, "TERCET_REDIS_URL": redis_url})


@pytest.mark.parametrize("example", _marked("runs with all servers"), ids=lambda one: one.place)
def test_an_example_over_all_three_stores_runs(
    example: Example, tmp_path: Path, postgres_url: str, mongo_url: str, redis_url: str
) -> None:
    """As above, with MongoDB too; a durable place that it leaves in PostgreSQL is taken away."""
    addresses = {
        "TERCET_POSTGRES_URL": postgres_url,
        "TERCET_MONGO_URL": mongo_url,
        "TERCET_REDIS_URL": redis_url,
    }
    try:
        _run(example, tmp_path, addresses)
    finally:
        asyncio.run(_without_slots(postgres_url))


async def _without_slots(postgres_url: str) -> None:
    """A database that has a slot cannot be dropped; one whose reader has just ended is let go of some time later."""
    connection = await asyncpg.connect(postgres_url)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await connection.fetchval(
                "select count(*) from pg_replication_slots where database = current_database()"
            ):
                await connection.execute(
                    "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
                    " where database = current_database() and not active"
                )
                await asyncio.sleep(0.02)
    finally:
        await connection.close()


def _run(example: Example, tmp_path: Path, addresses: dict[str, str]) -> None:
    program = tmp_path / "example.py"
    program.write_text(example.code, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PATIENTLY, str(program)],
        cwd=tmp_path,
        env={**os.environ, **addresses, "PYTHONPATH": str(ROOT / "src")},
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert ran.stdout == _printed(example) or not _printed(example)


def _printed(example: Example) -> str:
    """What the page says that the example prints: the block of text right below it."""
    shown = re.match(r"\n+```text\n(?P<text>.*?)^```$", example.below, re.MULTILINE | re.DOTALL)
    return shown["text"] if shown else ""


def test_every_mark_on_an_example_is_a_known_one() -> None:
    """A misspelt mark would silently take an example out of the run."""
    assert {one.mark for one in EXAMPLES} <= {"", "runs", "runs with servers", "runs with all servers"}
