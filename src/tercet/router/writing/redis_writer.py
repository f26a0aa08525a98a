"""Values written under keys of Redis, each with the version that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from tercet.router.reading.redis_keys import SAVED, glob, name_of
from tercet.router.writing.saved import hash_texts, redis_text
from tercet.wire import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.router.key import Key
    from tercet.router.plan import Field, Source
    from tercet.router.port import RedisLine
    from tercet.router.source import InRedis
    from tercet.wire import Word

_HASH = Script.beside(__file__, "write_hash")
_STRING = Script.beside(__file__, "write_string")

# How long the version of a string is remembered beside it: an event that is delivered again after that is not
# known to be old any more. Longer than any outbox retries.
VERSION_SECONDS = 7 * 86_400


class RedisWriter:
    """Writes by a script, which compares versions and writes in one step."""

    def __init__(self, line: RedisLine) -> None:
        self._line = line

    async def write(self, source: Source, key: Key, values: Mapping[Field, Any], version: int) -> None:
        """Write these; twice is once, and an older version changes nothing. None takes a value away."""
        declared = cast("InRedis", source.declared)
        name = name_of(declared, source.key_of(key))
        for field, value in values.items():
            if declared.kind == "hash":
                texts = {} if value is None else hash_texts(field, value)
                part = cast("InRedis", field.declared).field
                gone = (part,) if part is not None else field.names
                words = [name for name in gone or () if name not in texts]
                pairs = [word for pair in texts.items() for word in pair]
                clear = int(gone is None)
                await self._line.run(
                    _HASH, (name,), (version, SAVED + field.name.encode(), clear, len(words), *words, *pairs)
                )
            else:
                await self._line.run(_STRING, (name, _beside(name)), (version, VERSION_SECONDS, *_text(field, value)))

    async def sweep(self, source: Source, fields: tuple[Field, ...], before: int) -> None:
        """Take away what was last written before this version; it looks at every key of the template."""
        declared = cast("InRedis", source.declared)
        match = glob(declared.template)
        async for names in self._line.scan(match):
            for name in names:
                for field in fields:
                    if declared.kind == "hash":
                        part = cast("InRedis", field.declared).field
                        gone = (part,) if part is not None else field.names
                        words: tuple[Word, ...] = (
                            before,
                            SAVED + field.name.encode(),
                            int(gone is None),
                            -1,
                            *(gone or ()),
                        )
                        await self._line.run(_HASH, (name,), words)
                    else:
                        await self._line.run(_STRING, (name, _beside(name)), (before, -1))


def _text(field: Field, value: Any) -> tuple[bytes | str, ...]:
    if value is None:
        return ()
    if cast("InRedis", field.declared).kind == "json":
        return (msgspec.json.encode(value, enc_hook=str),)
    return (value if isinstance(value, bytes) else redis_text(field, value),)


def _beside(name: bytes) -> bytes:
    """A name in the same slot of a cluster: of braces in a name only the first pair counts."""
    return name + b":saved" if b"{" in name else b"{" + name + b"}:saved"
