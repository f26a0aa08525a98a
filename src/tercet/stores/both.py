"""tercet's error and the driver's error in one: whoever catches either of them catches it."""

from __future__ import annotations

import ssl
from functools import cache
from socket import gaierror
from typing import Any

from tercet.errors import TercetError

# An error's causes can go round in circles; nobody nests them deeper than this.
_CAUSES_MAX = 20


def both(ours: TercetError, theirs: BaseException) -> TercetError:
    """One error that is `ours` in what it says and `theirs` too, with the facts of both.

    So code written for the bare driver goes on working: `except redis.ConnectionError` and
    `except StoreUnreachable` catch the same error. Raise it `from` the driver's own.
    """
    if not isinstance(theirs, Exception) or isinstance(theirs, TercetError):
        return ours
    return _make(type(ours), type(theirs), theirs.args, {**vars(theirs), **vars(ours)})


def _make(
    ours: type[TercetError], theirs: type[Exception], args: tuple[Any, ...], facts: dict[str, Any]
) -> TercetError:
    kind = _joint((ours, theirs))
    error = kind.__new__(kind, *args)
    if isinstance(error, OSError):
        # errno and strerror live outside the dictionary, and only its own initialiser sets them.
        OSError.__init__(error, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


# A pure function of two classes; remembered so that an outage does not make a class for each error.
@cache
def _joint(kinds: tuple[type[TercetError], type[Exception]]) -> type[TercetError]:
    """The class that is both."""
    ours, theirs = kinds

    def reduce(self: TercetError) -> tuple[Any, ...]:
        return _make, (
            ours,
            theirs,
            tuple(map(_plain, self.args)),
            {k: _plain(v) for k, v in vars(self).items()},
        )

    name = f"{ours.__name__}[{theirs.__name__}]"
    return type(name, (ours, theirs), {"__module__": __name__, "__doc__": ours.__doc__, "__reduce__": reduce})


def _plain(value: object) -> object:
    """A fact that every process can read; a driver's live objects become their text."""
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    if isinstance(value, list | tuple | set):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return str(value)


def cause_of(error: BaseException, kind: type[BaseException] | tuple[type[BaseException], ...]) -> BaseException | None:
    """The nearest error of this kind among an error and what led to it."""
    at: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if at is None or isinstance(at, kind):
            return at
        at = at.__cause__ or at.__context__
    return None


def distrust(error: BaseException, *, setting: str) -> str | None:
    """Why a server's certificate is not trusted, if that is what has happened: waiting will not help then."""
    cause = cause_of(error, ssl.SSLCertVerificationError)
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return None
    return f"its certificate is not trusted, {cause.verify_message.rstrip('.')} ({setting})"


_REASONS: tuple[tuple[type[OSError], str], ...] = (
    (ConnectionRefusedError, "the connection is refused"),
    (ssl.SSLError, "the two sides do not agree on encryption"),
    (gaierror, "its host name is not known"),
    (FileNotFoundError, "its socket does not exist"),
    (PermissionError, "its socket may not be used"),
    (TimeoutError, "no connection was made in time"),
)


def why(error: BaseException) -> str:
    """Why nobody answers, in words of ours: a driver's own may carry addresses."""
    cause = cause_of(error, OSError)
    return next((words for kind, words in _REASONS if isinstance(cause, kind)), "the connection was lost")
