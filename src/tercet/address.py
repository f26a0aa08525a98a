"""Addresses of stores: as they are for whoever connects, without their secrets for everybody else."""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

_HIDDEN = "***"
_SCHEMES = {
    "postgres": ("postgresql", "postgres", "postgresql+asyncpg"),
    "mongo": ("mongodb", "mongodb+srv"),
    "redis": ("redis", "rediss", "unix"),
}
_SECRET_WORDS = re.compile(
    r"(?i)([\w.\-%]*(?:pass(?:word|wd|phrase)?|pwd|secret|token|authmechanismproperties)[\w.\-%]*\s*[=:]\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s&;]+)"
)


def mask(url: str) -> str:
    """The address without its secrets, fit for errors and logs; whatever could be a password is hidden."""
    scheme, found, rest = url.partition("://")
    if not found:
        scheme, rest = "", url
    # The last @ ends the credentials even where a password was not percent-encoded.
    credentials, found_at, place = rest.rpartition("@")
    if found_at:
        user, colon, _ = credentials.partition(":")
        rest = f"{user}:{_HIDDEN}@{place}" if colon else f"{user}@{place}"
    shown = _SECRET_WORDS.sub(rf"\1{_HIDDEN}", rest)
    return f"{scheme}://{shown}" if found else shown


class Url:
    """An address that shows itself only without its secrets; `reveal()` is for whoever connects."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The address as it was given, with its password."""
        return self._text

    @property
    def place(self) -> str:
        """Host and port, or the socket's path: where the store is, and nothing else."""
        parts = urlsplit(self._text)
        host = parts.netloc.rpartition("@")[2]
        return host or ",".join(parse_qs(parts.query).get("host", ())) or parts.path

    @property
    def database(self) -> str:
        """The database of PostgreSQL or MongoDB that it names; PostgreSQL's is the user's where it names none."""
        parts = urlsplit(self._text)
        said = parse_qs(parts.query).get("dbname", [""])[-1]
        return said or unquote(parts.path.removeprefix("/")) or unquote(parts.username or "")

    def __str__(self) -> str:
        return mask(self._text)

    def __repr__(self) -> str:
        return f"<Url {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Url:
        return self

    def __deepcopy__(self, _memo: object) -> Url:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("an address with its password is not pickled: read the settings again where they are needed")


def address_of(store: str, value: object) -> Url:
    """The address of such a store; raises ValueError, whose text says what would be one."""
    schemes = _SCHEMES[store]
    wanted = f"an address such as {' or '.join(f'{scheme}://…' for scheme in schemes)}"
    text = value.reveal() if isinstance(value, Url) else value if isinstance(value, str) else ""
    text = text.strip()
    try:
        parts = urlsplit(text)
        _ = "," in parts.netloc or parts.port
    except ValueError:
        raise ValueError(f"{wanted}; special characters in a password are percent-encoded") from None
    if parts.scheme not in schemes or re.search(r",\w+://", text):
        raise ValueError(wanted)
    return Url(text)
