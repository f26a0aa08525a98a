"""The pages: nothing a user can name is without its place in the reference."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

import tercet
from tercet import errors
from tercet.cli.group import tercet as tercet_command
from tercet.errors import TercetError

# What each error's section has to say, in this order.
PARTS = ("> ", "**Problem.**", "**Why", "**Instead.**")


def _sections(page: Path) -> dict[str, str]:
    """The text below each heading of the third level."""
    _, *sections = re.split(r"^### ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {section.partition("\n")[0].strip("` "): section for section in sections}


def _leaves(kind: type[TercetError] = TercetError) -> Iterator[str]:
    below = [one for one in kind.__subclasses__() if vars(errors).get(one.__name__) is one]
    if not below:
        yield kind.__name__
    for one in below:
        yield from _leaves(one)


def _commands(group: click.Group, path: str = "tercet") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_every_error_has_its_section_and_no_section_is_left_over(root: Path) -> None:
    """The leaves of the tree and the headings of the page are the same."""
    assert set(_sections(root / "docs/reference/errors.md")) == set(_leaves())


def test_every_section_on_an_error_says_problem_why_and_instead(root: Path) -> None:
    """What a reader is told stands in one order, everywhere."""
    for name, section in _sections(root / "docs/reference/errors.md").items():
        places = [section.find(part) for part in PARTS]
        assert -1 not in places, name
        assert places == sorted(places), name


def test_every_setting_is_in_the_reference(root: Path) -> None:
    """Each stands in a table under its name, and no name is left over."""
    page = (root / "docs/reference/settings.md").read_text(encoding="utf-8")
    known = import_module("tercet.settings").names()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(known)


def test_every_command_is_in_the_reference_with_its_options(root: Path) -> None:
    """Each command has a section, and each section names each option."""
    commands = dict(_commands(tercet_command))
    sections = _sections(root / "docs/reference/commands.md")
    assert set(sections) == set(commands)
    missing = [
        f"{name} {option}"
        for name, command in commands.items()
        for parameter in command.params
        for option in parameter.opts
        if isinstance(parameter, click.Option) and not parameter.hidden and f"`{option}" not in sections[name]
    ]
    assert not missing, "\n".join(missing)


def test_every_room_has_its_page_in_the_reference(root: Path) -> None:
    """What has a door has a page that is made of its docstrings."""
    package = Path(tercet.__file__).parent
    inside = {"cli"}
    doors = {path.parent.name for path in package.glob("*/__init__.py")} - inside
    files = {path.stem for path in package.glob("*.py")} - {"__init__", "tercet", "features", "address"}
    pages = "".join(page.read_text(encoding="utf-8") for page in (root / "docs/reference/python").glob("*.md"))
    described = set(re.findall(r"automodule:: tercet\.(\w+)", pages))
    assert (doors | files) - described == set()


def test_make_help_lists_every_target(root: Path) -> None:
    """The list that `make` prints has each word of the Makefile, with what it does."""
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    printed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=root, check=True, capture_output=True, text=True
    )
    listed = dict(re.findall(r"^  (\S+)\s+(\S.*)$", printed.stdout, re.MULTILINE))
    assert set(listed) == set(phony[1].split())


def test_the_lesson_shows_the_question_that_is_asked(root: Path) -> None:
    """The SQL on the page is the SQL of rung 0."""
    asked = import_module("tercet_shop.question").AS_WRITTEN.strip()
    assert f"```sql\n{asked}\n```" in (root / "docs/start/ladder.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_begins_with_the_two_commands(root: Path, command: str) -> None:
    """They stand on the first screen."""
    first_screen = "\n".join((root / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert command in first_screen


def test_the_changelog_tells_of_this_version(root: Path) -> None:
    """The version that is built has its entry."""
    assert f"## {tercet.__version__} " in (root / "CHANGELOG.md").read_text(encoding="utf-8")
