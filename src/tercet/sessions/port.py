"""What the flow asks of the place where sessions are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from tercet.sessions.session import Rules
    from tercet.sessions.token import Token

# none: no such session (any more) · live · former: found by an id that was replaced a moment ago ·
# replayed: that was replaced longer ago · revoked: the same, and the session was ended for it ·
# conflict: it is there and is another version · done
State = Literal["none", "live", "former", "replayed", "revoked", "conflict", "done"]


class Record(NamedTuple):
    """What is kept of a session; the times are milliseconds of the server's clock."""

    user: bytes
    born: int
    seen: int
    version: int
    device: bytes
    ip: bytes
    data: bytes


class Listed(NamedTuple):
    """What the list of a user's sessions knows of one."""

    handle: str
    born: int
    seen: int
    device: bytes
    ip: bytes


class Answer(NamedTuple):
    """How a session was found, and the session where it was."""

    state: State
    record: Record | None = None


class Renewal(NamedTuple):
    """What a rotation writes: the new id, and data where some is given, on top of `version`."""

    token: Token
    login: bool
    at_once: bool
    data: bytes
    version: int


class Register(Protocol):
    """The place where sessions are kept; every method is one step that happens as a whole or not at all.

    Raises a StoreError where the place is away.
    """

    async def create(self, token: Token, user: bytes, data: bytes, device: bytes, ip: bytes, rules: Rules) -> Answer:
        """Begin a session."""
        ...

    async def load(self, token: Token, rules: Rules) -> Answer:
        """Find a session, and write down from time to time that it was used."""
        ...

    async def save(self, token: Token, data: bytes, version: int, rules: Rules) -> Answer:
        """Replace the data, if the session is alive and of this version."""
        ...

    async def rotate(self, token: Token, renewal: Renewal, rules: Rules) -> Answer:
        """Replace the id, if the session is alive."""
        ...

    async def take(self, token: Token, version: int | None, rules: Rules) -> Answer:
        """End the session, if it is alive and of this version."""
        ...

    async def revoke(self, owner: str, handle: str) -> bool:
        """End a session of this owner; whether there was one."""
        ...

    async def revoke_all(self, owner: str, keep: str) -> int:
        """End all sessions of this owner but the one of this handle; how many there were."""
        ...

    async def devices(self, owner: str, rules: Rules) -> list[Listed]:
        """All sessions of this owner."""
        ...
