"""Keys of Redis: all of them in one write, whatever their number."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from tercet.errors import FieldMismatch, StoreError
from tercet.router.key import text
from tercet.router.source import NEVER_MISSING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from tercet.router.key import Key
    from tercet.router.plan import Source
    from tercet.router.port import Found, RedisLine
    from tercet.router.source import InRedis

# A wire's deadline is meant for one command. So many more answers may take it once more: a busy machine reads
# some ten thousand a second.
KEYS_PER_DEADLINE = 500

# What hashes keep beside their fields: which saves they have seen.
SAVED = b"_tercet:"

_NOTHING: dict[str, object] = {"number": b"0", "set": ()}


class RedisKeys:
    """Reads keys through the wire: the commands of one loop tick leave in one write, strings as MGET."""

    # A reply that is an error is the key's own; what else goes wrong is the server's.
    faults: tuple[type[Exception], ...] = (StoreError,)

    def __init__(self, line: RedisLine) -> None:
        self._line = line

    async def read(self, source: Source, keys: Mapping[Key, Key]) -> Mapping[Key, Found]:
        """What lies under the name of each key."""
        declared = cast("InRedis", source.declared)
        return await self.named(source, {key: name_of(declared, theirs) for key, theirs in keys.items()})

    async def named(self, source: Source, keys: Mapping[Key, bytes]) -> Mapping[Key, Found]:
        """What lies under these names."""
        declared = cast("InRedis", source.declared)
        names = list(keys.values())
        # Not the deadline of the load: a wire that misses one is not asked again for a while, by anybody.
        deadline = self._line.deadline * (1 + len(names) // KEYS_PER_DEADLINE)
        if declared.kind in {"hash", "set"}:
            # Made at once, so that they leave together; each is awaited below.
            calls = [self._line.call(*_command(source, name), deadline=deadline) for name in names]
            replies: Sequence[Any] = await _each(calls)
        else:
            replies = await self._line.get_many(names, deadline=deadline)
        found: dict[Key, Found] = {}
        for key, reply in zip(keys, replies, strict=True):
            value = _found(source, reply)
            if value is not None:
                found[key] = value
        return found


def name_of(declared: InRedis, key: Key) -> bytes:
    """The name of a key of Redis."""
    return declared.template.format(key=text(key)).encode()


def glob(template: str) -> bytes:
    """The pattern that a template's names match, and perhaps others."""
    escaped = "".join(f"\\{sign}" if sign in "*?[]\\" else sign for sign in template)
    return escaped.format(key="*").encode()


def _command(source: Source, name: bytes) -> tuple[bytes, ...]:
    declared = cast("InRedis", source.declared)
    if declared.kind == "set":
        return (b"SMEMBERS", name)
    fields = _hash_fields(source)
    return (b"HGETALL", name) if None in fields else (b"HMGET", name, *(cast("bytes", one) for one in fields))


def _hash_fields(source: Source) -> list[bytes | None]:
    parts = [cast("InRedis", field.declared).field for field in source.fields]
    return [None if part is None else part.encode() for part in parts]


async def _each(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """Every reply; an error that concerns one key stands in its place, one that concerns all is raised."""
    replies = await asyncio.gather(*calls, return_exceptions=True)
    for reply in replies:
        if isinstance(reply, BaseException) and not _is_own(reply):
            raise reply
    return list(replies)


def _is_own(reply: BaseException) -> bool:
    """Whether an error says something of one key only: it holds another kind of value."""
    return getattr(reply, "code", None) == "WRONGTYPE"


def _found(source: Source, reply: Any) -> Found | None:
    """The raw values of the source's fields; None where there is nothing."""
    declared = cast("InRedis", source.declared)
    if isinstance(reply, Exception):
        return FieldMismatch(
            "redis", field=source.fields[0].label, source=source.name, reason="it is no " + declared.kind
        )
    if declared.kind == "hash":
        return _from_hash(source, reply)
    if not reply and declared.kind in NEVER_MISSING:
        return (_NOTHING[declared.kind],) if declared.kind == "number" else ([],)
    return None if reply is None else (reply,)


def _from_hash(source: Source, reply: Any) -> tuple[Any, ...] | None:
    fields = _hash_fields(source)
    if None not in fields:
        return None if all(value is None for value in reply) else tuple(reply)
    pairs = _pairs(reply)
    whole = {name: value for name, value in pairs.items() if not name.startswith(SAVED)}
    if not whole:
        return None
    return tuple(whole if field is None else whole.get(field) for field in fields)


def _pairs(reply: Any) -> dict[bytes, bytes]:
    """HGETALL's answer: a map in RESP3, a flat list in RESP2."""
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))
