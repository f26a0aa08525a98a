"""The face: cheap to import, and every name on it is there."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tercet

# A command-line program should not be felt to start: a hundred small modules are some 30 ms.
MODULES = 100

DRIVERS = {
    "alembic",
    "asyncpg",
    "bson",
    "click",
    "hiredis",
    "opentelemetry",
    "postgast",
    "prometheus_client",
    "psycopg",
    "pymongo",
    "redis",
    "rich",
    "sqlalchemy",
}


def _loaded_by(statement: str, root: Path) -> set[str]:
    """What a fresh interpreter has loaded after the statement and had not before."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root / "src")},
    )
    return set(ran.stdout.split())


def test_importing_tercet_loads_few_modules_and_no_driver(root: Path) -> None:
    """`import tercet` alone costs next to nothing."""
    loaded = _loaded_by("import tercet", root)
    assert "tercet" in loaded
    assert loaded & DRIVERS == set()
    assert len(loaded) <= MODULES


@pytest.mark.parametrize("name", sorted(tercet.__all__))
def test_a_name_on_the_face_is_there_and_loads_no_driver(root: Path, name: str) -> None:
    """Touching a name loads its room, and neither a driver nor more modules than a driver would have."""
    assert getattr(tercet, name) is not None
    assert _loaded_by(f"import tercet; tercet.{name}", root) & DRIVERS == set()


def test_the_face_tells_type_checkers_what_it_loads(root: Path) -> None:
    """What a type checker reads, what is loaded and what `import *` gives are the same names."""
    tree = ast.parse((root / "src/tercet/__init__.py").read_text(encoding="utf-8"))
    declared = {
        alias.asname or alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = import_module("tercet")._HOMES
    assert declared == homes
    assert set(tercet.__all__) == {*homes, "__version__"}


def test_a_name_that_is_not_on_the_face_is_an_attribute_error() -> None:
    """The lazy face behaves like any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Tecret'"):
        _ = tercet.Tecret


def test_what_the_advisor_tells_is_read_without_a_driver(root: Path) -> None:
    """A program that only looks at advice, or writes a workload down, needs no extra."""
    assert _loaded_by("from tercet.advisor import Advice, Candidate, Catalog, Workload", root) & DRIVERS == set()


@pytest.mark.parametrize("module", ["sqlalchemy", "asyncpg"])
def test_the_advisor_without_its_drivers_says_which_extra_brings_them(root: Path, module: str) -> None:
    """No ImportError from somewhere deep inside, and the command that mends it."""
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "import tercet.advisor, tercet.errors\n"
        "try:\n    tercet.advisor.advise\n"
        "except tercet.errors.ExtraMissing as error:\n    print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True,
        env={"PYTHONPATH": str(root / "src")},
    )  # fmt: skip
    assert module in ran.stdout
    assert "tercet[advisor]" in ran.stdout
