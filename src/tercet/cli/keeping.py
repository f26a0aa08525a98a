"""Where the last advice is kept, so that what is explained, saved or applied is exactly what was shown."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from tercet.advisor.report import Kept
from tercet.errors import UsageError

_FILE = "advice.json"


def keep(kept: Kept, folder: Path) -> None:
    """Write the advice into the folder, all of it or nothing, and readable by its owner only.

    It holds the statements with their constants, which may be anybody's data, and no address's password.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=_FILE)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(kept.to_bytes())
            Path(name).replace(folder / _FILE)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        mend = "Name a folder that can be written with --folder."
        raise UsageError(f"The advice cannot be kept in {folder}: {error.strerror}.", mend) from error


def last(folder: Path) -> Kept:
    """The advice that was given last. Raises UsageError where there is none, DocumentInvalid for a broken file."""
    try:
        return Kept.from_bytes((folder / _FILE).read_bytes())
    except FileNotFoundError as error:
        mend = "Ask for some first: tercet advise"
        raise UsageError(f"No advice is kept in {folder}.", mend) from error
    except OSError as error:
        raise UsageError(f"The advice in {folder} cannot be read: {error.strerror}.", "Look at its rights.") from error
