"""What the house's tests look at: the source files as trees, and the files that are tracked."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    """A Python file: where it is, what it is called when imported, and its syntax tree."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def place(self) -> str:
        """The path as a person would write it."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def room(self) -> str:
        """The folder in which it lies, seen from the package; empty for a file of the top floor."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 and (len(parts) > 2 or self.path.stem == "__init__") else ""

    def imports(self) -> Iterator[str]:
        """Every module that it names, wherever in the file, by statement or by import_module("…")."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=names):
                    yield from (one.name for one in names)
                case ast.ImportFrom(module=str(module), level=0):
                    yield module
                case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(module))]):
                    yield module
                case _:
                    pass


def _read(folder: Path, inside: Path) -> tuple[Source, ...]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(inside).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        found.append(Source(path, name, text, ast.parse(text, str(path))))
    return tuple(found)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def library() -> tuple[Source, ...]:
    """Every file of the package itself."""
    return _read(ROOT / "src" / "tercet", ROOT / "src")


@pytest.fixture(scope="session")
def shop() -> tuple[Source, ...]:
    """Every file of the reference shop."""
    return _read(ROOT / "examples" / "shop" / "tercet_shop", ROOT / "examples" / "shop")


@pytest.fixture(scope="session")
def tests() -> tuple[Source, ...]:
    """Every test file."""
    return _read(ROOT / "tests", ROOT)


@pytest.fixture(scope="session")
def tracked() -> tuple[Path, ...]:
    """Every file that is tracked, or would be with the next `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())
