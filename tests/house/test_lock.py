"""The lock: every package is pinned and hashed, and none says where it comes from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

LOCKS = ("requirements/dev.txt", "requirements/installer.txt", "requirements/bench.txt")

_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[\w,-]+\])?==[^ ;]+( ; [^@]+)?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def _requirements(path: Path) -> list[str]:
    """The requirements of a lock, each on one line, without comments."""
    text = re.sub(r"^\s*#.*\n?", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_in_the_lock_is_pinned_with_its_hashes(root: Path, lock: str) -> None:
    """A requirement is a name, a version and hashes, and nothing else: no address and no option."""
    requirements = _requirements(root / lock)
    assert requirements
    for requirement in requirements:
        pin, *hashes = requirement.split("--hash")
        assert _PIN.fullmatch(pin.strip()), requirement
        assert hashes, requirement
        assert _HASH.sub("", requirement).strip() == pin.strip(), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_address(root: Path, lock: str) -> None:
    """Neither a requirement nor a comment says where packages come from."""
    text = (root / lock).read_text(encoding="utf-8")
    assert [word for word in ("://", "--index", "--extra-index", "--find", " @ ") if word in text] == []


def test_the_lock_holds_every_package_that_the_project_file_asks_for(root: Path) -> None:
    """What was added to pyproject.toml was locked too."""
    asked = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project = asked["project"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *asked["dependency-groups"].values(),
    ]
    wanted = {_canonical(re.split(r"[^A-Za-z0-9._-]", one)[0]) for each in lists for one in each} - {"tercet"}
    locked = {_canonical(re.split(r"[^A-Za-z0-9._-]", one)[0]) for one in _requirements(root / LOCKS[0])}
    assert wanted - locked == set()
