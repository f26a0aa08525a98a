"""A folder of Alembic's: its head, its naming of files, and a new file in it."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from tercet.errors import UsageError


class AlembicFolder:
    """The folder with Alembic's env.py; its alembic.ini says how files are named, where there is one beside it."""

    def __init__(self, place: Path) -> None:
        self._place = place
        try:
            self._script = self._read()
            # It would print each file that it makes.
            self._script.messaging_opts = {"quiet": True}
        except CommandError as error:
            raise _unreadable(place, error) from error

    def find(self, revision: str) -> tuple[Path, str | None] | None:
        """The file of a revision, and what it revises; None if it is not there."""
        for one in self._revisions():
            if one[0] == revision:
                return one[1], one[2]
        return None

    def add(self, revision: str, message: str) -> tuple[Path, str | None]:
        """A new revision behind the head, and what it revises. Raises UsageError where there are several heads."""
        try:
            heads = self._script.get_heads()
            if len(heads) > 1:
                mend = "Join them first: alembic merge heads"
                raise UsageError(f"{self._place} has {len(heads)} heads: {', '.join(sorted(heads))}.", mend)
            made = self._script.generate_revision(revision, message, head="head")
        except (CommandError, OSError) as error:
            raise _unreadable(self._place, error) from error
        if made is None:
            raise UsageError(f"Alembic has made no file in {self._place}.", "Look at its alembic.ini.")
        return Path(made.path), heads[0] if heads else None

    def _read(self) -> ScriptDirectory:
        for beside in (self._place, self._place.parent):
            ini = beside / "alembic.ini"
            if ini.is_file():
                config = Config(str(ini), toml_file=str(beside / "pyproject.toml"))
                if config.get_main_option("script_location") or (beside / "pyproject.toml").is_file():
                    script = ScriptDirectory.from_config(config)
                    if Path(script.dir).resolve() == self._place.resolve():
                        return script
        return ScriptDirectory(str(self._place))

    def _revisions(self) -> list[tuple[str, Path, str | None]]:
        try:
            return [
                (one.revision, Path(one.path), one.down_revision if isinstance(one.down_revision, str) else None)
                for one in self._script.walk_revisions()
            ]
        except CommandError as error:
            raise _unreadable(self._place, error) from error


def _unreadable(place: Path, error: Exception) -> UsageError:
    return UsageError(f"Alembic cannot read {place}: {error}.", "Look at its alembic.ini and its revisions.")
