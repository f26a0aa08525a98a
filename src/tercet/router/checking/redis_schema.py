"""What lies under a template's keys, compared with what an entity reads there."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tercet.errors import FieldMismatch
from tercet.router.checking.finding import Finding, found
from tercet.router.reading.redis_keys import RedisKeys, glob

if TYPE_CHECKING:
    from tercet.router.plan import Source
    from tercet.router.port import RedisLine
    from tercet.router.source import InRedis

# Portions of a scan, 500 keys each, that are looked through for a key: a check must not read a whole server.
PORTIONS_MAX = 20

# Keys that are looked at.
SAMPLE_KEYS = 20

_TYPES = {"hash": b"hash", "set": b"set", "string": b"string", "number": b"string", "json": b"string"}


async def check_keys(line: RedisLine, source: Source) -> list[Finding]:
    """What the entity declares of these keys and a sample of them is not."""
    declared = cast("InRedis", source.declared)
    names = await _sample(line, declared)
    wanted, entity = _TYPES[declared.kind], source.fields[0].entity
    for name in names:
        kind = await line.call(b"TYPE", name)
        if kind not in {wanted, b"none"}:
            says = f"a key is a {kind.decode()}, and redis.{declared.kind} reads a {wanted.decode()}."
            return [Finding("error", entity, source.name, says, "Correct the declaration, or the template.")]
    findings: dict[str, Finding] = {}
    for values in (await RedisKeys(line).named(source, {name: name for name in names})).values():
        for field, raw in zip(source.fields, values if isinstance(values, tuple) else (), strict=False):
            try:
                field.value(raw, source.name)
            except FieldMismatch as error:
                says = f"cannot be made of every key: {error.reason}."
                mend = "Correct what is stored, or the type of the field."
                findings.setdefault(field.name, found("error", field, source.name, says, mend))
    return list(findings.values())


async def _sample(line: RedisLine, declared: InRedis) -> list[bytes]:
    """Some keys of the template; of a template such as 'user:{key}', those that have no more parts than it."""
    depth = declared.template.count(":")
    names: list[bytes] = []
    portions = 0
    async for some in line.scan(glob(declared.template)):
        names += (name for name in some if name.count(b":") == depth)
        portions += 1
        if len(names) >= SAMPLE_KEYS or portions >= PORTIONS_MAX:
            break
    return names[:SAMPLE_KEYS]
