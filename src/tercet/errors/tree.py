"""The root of the tree, and its three families."""

from __future__ import annotations

from typing import Any


class TercetError(Exception):
    """Anything that tercet raises; `says` is what happened and `mend` what to do about it."""

    retryable = False

    def __init__(self, says: str, mend: str = "") -> None:
        super().__init__(says, mend)
        self.says = says
        self.mend = mend

    def __str__(self) -> str:
        # A quoted log ends its own line.
        gap = "" if self.says.endswith("\n") else " "
        return f"{self.says}{gap}{self.mend}".rstrip()

    # A leaf takes keywords, which the default pickling of exceptions would lose.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[TercetError], args: tuple[Any, ...], fields: dict[str, Any]) -> TercetError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class UsageError(TercetError):
    """The program is wrong; running it again will not help."""


class StoreError(TercetError):
    """A store did not do what it was asked; `store` is postgres, mongo or redis."""

    store: str

    def __init__(self, store: str, says: str, mend: str = "") -> None:
        super().__init__(says, mend)
        self.store = store


class Refused(TercetError):
    """tercet itself says no."""
