"""A session's id: 256 random bits, of which Redis is only ever told a digest.

owner (20 characters)   whose session it is, as a digest: all sessions of a user lie in one slot of a cluster
handle (16)             which of them; not secret, and the same for as long as the session lives
secret (43)             what lets one in; another one after each rotation
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

from tercet.errors import UsageError

UserId = int | str

# 256 bits: nobody guesses one, however many sessions there are and however many tries.
SECRET_BYTES = 32

# 96 bits, to be unique among the sessions of one user.
HANDLE_BYTES = 12

# 120 bits: two users whose digests meet would have to be looked for 2**60 times.
OWNER_BYTES = 15

# Redis would take more, and a user's id that is longer than this is something else.
USER_BYTES_MAX = 512

# Wide enough for a UUID as a number; beyond it Python itself refuses to write some numbers.
USER_BITS_MAX = 128

_TOKEN = re.compile(r"[A-Za-z0-9_-]{79}", re.ASCII)
_HANDLE = re.compile(r"[A-Za-z0-9_-]{16}", re.ASCII)
_OWNER_CHARACTERS = 20
_HANDLE_END = 36


@dataclass(frozen=True, slots=True)
class Token:
    """An id in its parts; only `text` is secret, and it is not shown."""

    owner: str
    handle: str
    text: str = field(repr=False)

    def digest(self) -> bytes:
        """What Redis keeps of it: enough to know it again, and not to make it."""
        return hashlib.sha256(self.text.encode("ascii")).digest()

    def renewed(self) -> Token:
        """Another secret for the same session."""
        return _mint(self.owner, self.handle)


def mint(user: bytes) -> Token:
    """A new id for a session of this user; of nobody when `user` is empty."""
    owner = owner_of(user) if user else secrets.token_urlsafe(OWNER_BYTES)
    return _mint(owner, secrets.token_urlsafe(HANDLE_BYTES))


def read(text: object) -> Token | None:
    """The id in what came out of a cookie, or None where it cannot be one of ours."""
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        return None
    return Token(text[:_OWNER_CHARACTERS], text[_OWNER_CHARACTERS:_HANDLE_END], text)


def is_handle(text: object) -> bool:
    """Whether this can be a handle; it may come from a form."""
    return isinstance(text, str) and _HANDLE.fullmatch(text) is not None


def owner_of(user: bytes) -> str:
    """The place of a user's sessions: equal for equal users, and for no others."""
    digest = hashlib.sha256(b"tercet session owner\0" + user).digest()
    return urlsafe_b64encode(digest[:OWNER_BYTES]).decode("ascii")


def user_bytes(user: object) -> bytes:
    """A user's id as Redis keeps it; 1 and "1" are two users.

    Raises UsageError for what is no whole number and no text.
    """
    if isinstance(user, int) and not isinstance(user, bool):
        if user.bit_length() <= USER_BITS_MAX:
            return b"i%d" % user
        raise UsageError(
            f"A user_id of {user.bit_length()} bits cannot have a session.", f"Use {USER_BITS_MAX} bits at most."
        )
    if not isinstance(user, str):
        raise UsageError(
            f"A {type(user).__name__} cannot be a user_id.", "Use a whole number or a text, such as str(uuid)."
        )
    try:
        text = user.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            "A user_id with half a character in it cannot have a session.", "Use text that UTF-8 can hold."
        ) from error
    if not 0 < len(text) <= USER_BYTES_MAX:
        raise UsageError(
            f"A user_id of {len(text)} bytes cannot have a session.", f"Use a text of 1 to {USER_BYTES_MAX} bytes."
        )
    return b"s" + text


def user_of(kept: bytes) -> UserId | None:
    """The user's id that these bytes were made of; None where they are of nobody."""
    if not kept:
        return None
    return int(kept[1:]) if kept[:1] == b"i" else kept[1:].decode("utf-8")


def _mint(owner: str, handle: str) -> Token:
    return Token(owner, handle, owner + handle + secrets.token_urlsafe(SECRET_BYTES))
