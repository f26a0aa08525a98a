"""Sessions in Redis: one hash each, beside the index of its user in one slot, and one script a step."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

from tercet.errors import StoreError
from tercet.sessions.port import Answer, Listed, Record
from tercet.wire import Script, checked_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.sessions.port import Renewal, State
    from tercet.sessions.session import Rules
    from tercet.sessions.token import Token
    from tercet.wire import Wire, Word

# An end must arrive: it is given longer, and tried also while others keep away from a server in trouble.
END_SECONDS = 1.0

# Former ids of a session that are still known: with a rotation every quarter of an hour, those of two hours.
FORMER_KEPT = 8

# A script on more sessions would hold the server up for others.
SESSIONS_A_SCRIPT = 100

# What is left of ended sessions is cleared away up to this number; the rest goes by its own expiry.
CLEARED_MAX = 10_000

# From here on a value travels beside the small ones, which it would hold up.
BIG_BYTES = 16 << 10


_SESSION = Script.beside(__file__, "session")
_CREATE = Script.beside(__file__, "create")
_REVOKE = Script.beside(__file__, "revoke")
_REVOKE_ALL = Script.beside(__file__, "revoke_all")
_DEVICES = Script.beside(__file__, "devices")


class RedisRegister:
    """The sessions of one namespace.

    A session's key and its user's index share their hash tag, so that one script sees both also in a cluster:
    a session is alive if, and only if, it is there and its user's index names it.
    """

    __slots__ = ("_prefix", "_wire")

    def __init__(self, wire: Wire, *, namespace: str) -> None:
        checked_name(namespace, "namespace", where="Sessions")
        self._wire = wire
        self._prefix = f"{namespace}:session:{{"

    async def create(self, token: Token, user: bytes, data: bytes, device: bytes, ip: bytes, rules: Rules) -> Answer:
        """A hash and its place in the index."""
        words = (token.handle, token.digest(), user, rules.idle, rules.absolute, device, ip, data)
        reply = await self._wire.run(_CREATE, self._keys(token), words, big=len(data) >= BIG_BYTES)
        return _answer(reply)

    async def load(self, token: Token, rules: Rules) -> Answer:
        """One script, which writes once in a tenth of the idle time."""
        return _answer(await self._wire.run(_SESSION, self._keys(token), _words("load", token, rules)))

    async def save(self, token: Token, data: bytes, version: int, rules: Rules) -> Answer:
        """One script, which compares the version."""
        words = (*_words("save", token, rules), data, version)
        return _answer(await self._wire.run(_SESSION, self._keys(token), words, big=len(data) >= BIG_BYTES))

    async def rotate(self, token: Token, renewal: Renewal, rules: Rules) -> Answer:
        """The digest is replaced, and the old one kept for as long as it still leads here."""
        words = (
            *_words("rotate", token, rules),
            renewal.token.digest(),
            0 if renewal.at_once else rules.grace,
            FORMER_KEPT,
            "login" if renewal.login else "same",
            renewal.data,
            renewal.version,
        )
        big = len(renewal.data) >= BIG_BYTES
        return _answer(await self._wire.run(_SESSION, self._keys(token), words, big=big))

    async def take(self, token: Token, version: int | None, rules: Rules) -> Answer:
        """The hash and its place in the index are removed."""
        words = (*_words("take", token, rules), "" if version is None else version)
        return _answer(
            await self._wire.run(_SESSION, self._keys(token), words, deadline=END_SECONDS, always=True),
        )

    async def revoke(self, owner: str, handle: str) -> bool:
        """Both are removed, by the handle alone."""
        keys = (self._session(owner, handle), self._index(owner))
        ended = await self._wire.run(_REVOKE, keys, (handle,), deadline=END_SECONDS, always=True)
        return bool(ended == 1)

    async def revoke_all(self, owner: str, keep: str) -> int:
        """The index is removed, which ends them all; what is left of them is then cleared away."""
        reply = await self._wire.run(
            _REVOKE_ALL, (self._index(owner),), (keep, CLEARED_MAX), deadline=END_SECONDS, always=True
        )
        ended, handles = cast("tuple[int, list[bytes]]", reply)
        # They have ended already. What cannot be cleared now goes by its expiry.
        with contextlib.suppress(StoreError):
            for some in _slices(handles):
                await self._wire.call("UNLINK", *(self._session(owner, one.decode("ascii")) for one in some))
        return ended

    async def devices(self, owner: str, rules: Rules) -> list[Listed]:
        """The index is read, then what it names, a slice at a time."""
        index = self._index(owner)
        handles = cast("list[bytes]", await self._wire.call("ZRANGE", index, 0, -1))
        found: list[Listed] = []
        for some in _slices(handles):
            keys = (index, *(self._session(owner, one.decode("ascii")) for one in some))
            reply = await self._wire.run(_DEVICES, keys, (rules.idle, rules.absolute, *some))
            found += [
                Listed(handle.decode("ascii"), int(born), int(seen), device, ip)
                for handle, born, seen, device, ip in cast("list[list[bytes]]", reply)
            ]
        return found

    def _keys(self, token: Token) -> tuple[bytes, bytes]:
        index = f"{self._prefix}{token.owner}}}"
        return f"{index}:{token.handle}".encode("ascii"), index.encode("ascii")

    def _session(self, owner: str, handle: str) -> bytes:
        return f"{self._prefix}{owner}}}:{handle}".encode("ascii")

    def _index(self, owner: str) -> bytes:
        return f"{self._prefix}{owner}}}".encode("ascii")


def _words(verb: str, token: Token, rules: Rules) -> tuple[Word, ...]:
    replayed = "revoke" if rules.revoke_replayed else "refuse"
    return verb, token.handle, token.digest(), rules.idle, rules.absolute, rules.touch, replayed


def _answer(reply: object) -> Answer:
    state, *fields = cast("list[bytes]", reply)
    said = cast("State", state.decode("ascii"))
    if not fields:
        return Answer(said)
    user, born, seen, version, device, ip, data = fields
    return Answer(said, Record(user, int(born), int(seen), int(version), device, ip, data))


def _slices(handles: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(handles), SESSIONS_A_SCRIPT):
        yield handles[start : start + SESSIONS_A_SCRIPT]
