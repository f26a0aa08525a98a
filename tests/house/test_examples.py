"""The examples on the pages: all can be compiled, their imports exist, and those that need no server run."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

ROOT = Path(__file__).parents[2]

# A fence of Python, with the mark that may stand on the line before it.
_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[\w ]+) -->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Example:
    """One block of Python on a page."""

    place: str
    mark: str
    code: str


def _examples() -> list[Example]:
    pages = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for fence in _FENCE.finditer(text):
            line = text.count("\n", 0, fence.start("code")) + 1
            place = f"{page.relative_to(ROOT).as_posix()}:{line}"
            found.append(Example(place, fence["mark"] or "", fence["code"]))
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


@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if one.mark == "runs"], ids=lambda one: one.place
)
async def test_an_example_that_needs_no_server_runs(example: Example) -> None:
    """What is shown is what happens; the assertions in it hold."""
    code = compile(example.code, example.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = FunctionType(code, {"__name__": "__main__"})()
    if inspect.iscoroutine(running):
        await running


def test_every_mark_on_an_example_is_a_known_one() -> None:
    """A misspelt mark would silently take an example out of the run."""
    assert {one.mark for one in EXAMPLES} <= {"", "runs", "runs with servers"}
