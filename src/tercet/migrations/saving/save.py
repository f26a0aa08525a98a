"""Steps are written into a folder of migrations: behind its head, by its own conventions."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from tercet.errors import ExtraMissing, UsageError
from tercet.migrations.saving.revision import written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tercet.migrations.steps import Step

# As many as Alembic's own identifiers have.
_DIGITS = 12
_SLUG_MAX = 40
_ENVIRONMENT = "env.py"


@dataclass(frozen=True, slots=True)
class Saved:
    """The file of a revision; `existed` when the same steps were saved there before."""

    path: Path
    revision: str
    down_revision: str | None
    existed: bool = False
    # What is to be known of it.
    note: str = ""


class Folder(Protocol):
    """A folder of Alembic's."""

    def find(self, revision: str) -> tuple[Path, str | None] | None:
        """The file of a revision, and what it revises; None if it is not there."""
        ...

    def add(self, revision: str, message: str) -> tuple[Path, str | None]:
        """A new revision behind the head, and what it revises."""
        ...


def save(steps: Sequence[Step], folder: Path, *, title: str, made: str, notes: Sequence[str] = ()) -> Saved:
    """Write `steps` as one revision into `folder`: Alembic's own, or any other.

    In a folder with an env.py it follows the head, and is named as that folder names its files; elsewhere it is one
    file that follows nothing. The same steps get the same revision, and are not saved twice. `made` is a day.

    Raises UsageError for a folder with several heads or one that cannot be written, and ExtraMissing without Alembic.
    """
    revision = _revision(steps, title, made)
    place = _environment(folder)
    if place is None:
        return _plain(steps, folder, revision, title=title, made=made, notes=notes)
    ours = _folder(place)
    there = ours.find(revision)
    if there is not None:
        return Saved(there[0], revision, there[1], existed=True, note="these steps were saved there before")
    path, follows = ours.add(revision, title)
    try:
        text = written(steps, title=title, revision=revision, down_revision=follows, made=made, notes=notes)
        _write(path, text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Saved(path, revision, follows)


def _revision(steps: Sequence[Step], title: str, made: str) -> str:
    """An identifier that the same steps get again."""
    text = written(steps, title=title, revision="", down_revision=None, made=made)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _environment(folder: Path) -> Path | None:
    """Where Alembic's env.py lies: in the folder, in one below it that alembic.ini may name, or around versions/."""
    for place in (folder, folder.parent if folder.name == "versions" else folder):
        if (place / _ENVIRONMENT).is_file():
            return place
    if any((folder / name).is_file() for name in ("alembic.ini", "pyproject.toml")):
        below = [
            path.parent for path in sorted(folder.glob(f"*/{_ENVIRONMENT}")) if (path.parent / "versions").is_dir()
        ]
        return below[0] if len(below) == 1 else None
    return None


def _folder(place: Path) -> Folder:
    try:
        module = import_module("tercet.migrations.saving.alembic_folder")
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "alembic":
            raise
        raise ExtraMissing("Saving behind Alembic's head", module="alembic", extra="migrations") from error
    return cast("Folder", module.AlembicFolder(place))


def _plain(steps: Sequence[Step], folder: Path, revision: str, *, title: str, made: str, notes: Sequence[str]) -> Saved:
    slug = re.sub(r"\W+", "_", title.lower())[:_SLUG_MAX].strip("_")
    path = folder / f"{revision}_{slug}.py"
    note = f"{folder} is no folder of Alembic's (it has no {_ENVIRONMENT}), so the revision follows none"
    if path.exists():
        return Saved(path, revision, None, existed=True, note="these steps were saved there before")
    text = written(steps, title=title, revision=revision, down_revision=None, made=made, notes=notes)
    _write(path, text)
    return Saved(path, revision, None, note=note)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        mend = "Name a folder that can be written."
        raise UsageError(f"The revision cannot be written to {path}: {error.strerror}.", mend) from error
