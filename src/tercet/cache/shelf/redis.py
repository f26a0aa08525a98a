"""The shelf in Redis: entries, leases and tag versions under one prefix, on the wire that all rooms share."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from tercet.cache.encoding.frame import unpack
from tercet.cache.moments.span import read
from tercet.cache.shelf.bus import Bus
from tercet.cache.shelf.census import Census
from tercet.cache.shelf.drops import Drops
from tercet.cache.shelf.gather import every
from tercet.cache.shelf.layout import Layout, written
from tercet.cache.shelf.port import LEASE_SECONDS, BusState, Drop, Grant, Versions
from tercet.cache.shelf.waiting import Waiting
from tercet.units import duration
from tercet.wire import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.cache.moments.span import Record, Span
    from tercet.cache.shelf.port import Figures
    from tercet.clock import Clock
    from tercet.telemetry import Telemetry
    from tercet.wire import Reply, Wire, Word

# A version outlives every entry that carries it; two days cover the longest layer twice, and longer entries
# ask for twice their own time.
TAG_SECONDS_MIN = 2 * 86_400.0

# 64 random bits: a version that was evicted, dropped or lost in a failover never comes back by counting.
VERSION_BYTES = 8

# 128 random bits: no two leases are ever taken for one another.
TOKEN_BYTES = 16

# Larger entries travel beside the small ones, so that nobody waits behind them. Below what the wire itself
# takes for long, so that we know which ones do.
BIG_BYTES = 24 * 1024

# So many tags of one entry are asked for one by one: each costs a future, and equal ones of other callers are
# asked once. More go as a command of their own.
FEW_TAGS = 4

_LEASE = Script.beside(__file__, "lease")
_RENEW = Script.beside(__file__, "renew")
_FILL = Script.beside(__file__, "fill")
_EXTEND = Script.beside(__file__, "extend")


class RedisShelf:
    """Entries, leases and tag versions in one Redis, Sentinel's primary or cluster; fulfils the port.

    `deadline` is what one read or fill may cost when Redis is slow; None is the wire's own.
    """

    def __init__(
        self, wire: Wire, *, namespace: str, deadline: float | None = None, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._wire = wire
        self._keys = Layout(namespace)
        # Commands that name none have the wire's, and share a round trip more cheaply.
        self._deadline = None if deadline == wire.deadline else deadline
        self._drops = Drops(wire, self._keys)
        self._waiting = Waiting(wire, self._keys)
        self._census = Census(wire, self._keys, clock=clock)
        self._bus = Bus(wire, self._keys.bus, self._drops.mark, self._census.tell, clock=clock, telemetry=telemetry)
        self._who = f"on {socket.gethostname()}"

    def read_one(self, name: str, *, big: bool = False) -> Awaitable[bytes | None]:
        """The entry, by a GET that shares its round trip with all others of this tick."""
        return self._wire.get(self._keys.entry(name), deadline=self._deadline, big=big)

    async def read(
        self, names: Sequence[str], tags: Sequence[str], *, big: bool = False
    ) -> tuple[Sequence[bytes | None], Versions]:
        """Entries and versions, by one MGET; that of one entry shares it with all others of this tick."""
        if len(names) == 1 and len(tags) <= FEW_TAGS:
            return await self._read_tagged(names[0], tags, big=big)
        keys = [*map(self._keys.entry, names), *map(self._keys.tag, tags)]
        found = await self._wire.get_many(keys, deadline=self._deadline, big=big)
        return found[: len(names)], dict(zip(tags, found[len(names) :], strict=True))

    async def _read_tagged(self, name: str, tags: Sequence[str], *, big: bool) -> tuple[list[bytes | None], Versions]:
        get = self._wire.get
        asked = [asyncio.ensure_future(get(self._keys.tag(tag), deadline=self._deadline)) for tag in tags]
        try:
            frame = await get(self._keys.entry(name), deadline=self._deadline, big=big)
            return [frame], {tag: await one for tag, one in zip(tags, asked, strict=True)}
        except BaseException:
            for one in asked:
                # An answer that nobody will ask for; what went wrong with it is what went wrong with the entry.
                one.cancel()
                if one.done() and not one.cancelled():
                    one.exception()
            raise

    async def versions(self, tags: Sequence[str]) -> Versions:
        """Versions, made where there are none; of several who make one at the same time, the first wins."""
        if not tags:
            return {}
        *_, found = await every(self._asked(tags))
        return dict(zip(tags, found, strict=True))

    async def lease(self, name: str, tags: Sequence[str], *, anew: bool = False, instead: bytes | None = None) -> Grant:
        """The entry, or leave to load it; one that its tags say is no longer true counts as none.

        With tags it takes two round trips: their versions are read first, because a lease says which ones its
        holder has read. Whoever loads what was dropped since does not keep others waiting.
        """
        kind: Literal["", "1"] = "1" if anew else ""
        if not tags:
            return await self._leased(name, {}, kind, instead)
        versions = await self.versions(tags)
        # After the versions: a drop is remembered before it takes them away.
        taking = asyncio.ensure_future(self._leased(name, versions, kind, instead))
        try:
            records = await self._recorded(tags)
            grant = await taking
        except BaseException:
            taking.cancel()
            await asyncio.wait([taking])
            if not taking.cancelled() and taking.exception() is None:
                # Granted, and nobody is left who knows it.
                self._waiting.forsake(name, taking.result().token or b"")
            raise
        return replace(grant, records=records) if records else grant

    async def _leased(self, name: str, versions: Versions, kind: Literal["", "1"], instead: bytes | None) -> Grant:
        grant = await self._take(name, versions, kind=kind, instead=instead)
        if grant.frame is None or grant.token or grant.holder or _is_good(grant.frame, versions):
            return grant
        return await self._take(name, versions, kind="", instead=grant.frame)

    async def _recorded(self, tags: Sequence[str]) -> dict[str, tuple[Record, ...]]:
        """What these tags were dropped for lately; under the empty name what all of them were."""
        keys = [*map(self._keys.moments, tags), self._keys.moments_of_all]
        found = await self._wire.get_many(keys, deadline=self._deadline)
        return {tag: read(one) for tag, one in zip((*tags, ""), found, strict=True) if one}

    async def renew(self, name: str, token: bytes) -> bool:
        """Hold on to a lease for its time again, by the connection that we have now."""
        lease = self._keys.lease(name)
        words = [token, await self._client(lease), _ms(LEASE_SECONDS)]
        return bool(await self._wire.run(_RENEW, [lease], words, deadline=self._deadline))

    async def release(self, name: str, token: bytes) -> None:
        """Give a lease back without filling, and wake those who wait."""
        await self._waiting.release(name, token)

    async def fill(
        self, name: str, frame: bytes, seconds: float, tags: Sequence[str], token: bytes, *, tell: bool = False
    ) -> tuple[bool, Versions]:
        """Keep what was loaded if the lease is still ours, in one round trip; a large one takes two, a told one too."""
        kept, versions = await self._keep(name, frame, seconds, tags, token)
        if kept and tell:
            await self._drops.tell(Drop(names=(name,)))
        return kept, versions

    async def wait(self, name: str, holder: bytes, seconds: float) -> None:
        """Return when somebody else's load is over, whatever way, or after `seconds`."""
        await self._waiting.wait(name, holder, seconds)

    async def write(self, name: str, frame: bytes, seconds: float, tags: Sequence[str]) -> tuple[bool, Versions]:
        """Keep an entry whatever is there, then tell the bus: three round trips.

        It is kept under a lease of its own, which takes the old entry away. A write that was given up may still
        arrive, on a connection that stood still: then its lease is gone, and it puts nothing old over what is
        newer. Of several at once the last one is kept.
        """
        token = (await self._take(name, {}, kind="w", instead=None)).token or b""
        try:
            kept, versions = await self._keep(name, frame, seconds, tags, token)
        except BaseException:
            self._waiting.forsake(name, token)
            raise
        # Only now: whoever forgets the old value must find the new one.
        await self._drops.tell(Drop(names=(name,)))
        return kept, versions

    async def drop(self, drop: Drop) -> None:
        """Forget what is no longer true, and tell the bus; returns when Redis has acknowledged both.

        Names and tags cost two round trips for thousands, patterns and `everything` a walk through the keyspace.
        """
        await self._drops.deliver(drop)

    async def settle(self, tags: Sequence[str], source: bytes, through: int, spans: Sequence[Span]) -> None:
        """Mark what these tags, and all of them, were dropped for as settled; one small script a tag."""
        await self._drops.settle(tags, source, through, spans)

    async def holder(self, name: str) -> str | None:
        """Who is loading this entry now, and since when."""
        lease = self._keys.lease(name)
        found, now = await every(
            (
                self._wire.call("HMGET", lease, "token", "who", "since", key=lease),
                self._wire.call("TIME", key=lease),
            )
        )
        token, who, since = found
        if token is None:
            return None
        age = int(now[0]) + int(now[1]) / 1e6 - int(since) / 1e3
        return f"{who.decode(errors='replace')}, for {duration(max(0.0, age))}"

    def follow(self, hear: Callable[[Drop | None], None], trusted: Callable[[float], None]) -> None:
        """Listen to the bus in this event loop; nothing when it is listened to already."""

        def both(drop: Drop | None) -> None:
            hear(drop)
            self._waiting.dropped(drop)

        self._bus.follow(both, trusted)

    def report(self, figures: Callable[[], Figures]) -> None:
        """Let others see these figures of this process."""
        self._census.figures = figures

    async def tried(self) -> None:
        """Return once the bus was heard, or has failed to be."""
        await self._bus.tried()

    @property
    def origin(self) -> bytes:
        """Whose the drops are that this process makes."""
        return self._drops.origin

    @property
    def bus(self) -> BusState:
        """How the bus stands."""
        return self._bus.state

    def watch(self, connected: Callable[[], None]) -> None:
        """Tell this after each new connection: what was sent before it may be lost."""
        self._wire.watch(connected)

    async def close(self) -> None:
        """End the bus and the listening; the wire is its owner's."""
        await self._bus.close()
        await self._waiting.close()

    def _asked(self, tags: Sequence[str]) -> list[Awaitable[Reply]]:
        """What makes and reads versions; the answer to the last is theirs."""
        keys = [*map(self._keys.tag, tags)]
        made: list[Awaitable[Reply]] = [
            self._wire.call(
                "SET",
                key,
                secrets.token_bytes(VERSION_BYTES),
                "NX",
                "PX",
                _ms(TAG_SECONDS_MIN),
                key=key,
                deadline=self._deadline,
            )
            for key in keys
        ]
        return [*made, self._wire.get_many(keys, deadline=self._deadline)] if keys else []

    async def _client(self, key: bytes) -> int | str:
        """The connection by which others see that we live; nothing where it is not known."""
        return await self._wire.client_id(key) or ""

    async def _take(
        self, name: str, versions: Versions, *, kind: Literal["", "1", "w"], instead: bytes | None
    ) -> Grant:
        keys = [self._keys.entry(name), self._keys.lease(name)]
        ours = secrets.token_bytes(TOKEN_BYTES)
        words: list[Word] = [
            ours,
            await self._client(keys[1]),
            f"process {os.getpid()} {self._who}",
            _ms(LEASE_SECONDS),
            kind,
            _digest(instead) if instead is not None else "",
            b"".join(version or b"" for _, version in sorted(versions.items())),
        ]
        try:
            frame, token, holder = await self._wire.run(_LEASE, keys, words, deadline=self._deadline)
        except BaseException:
            # Perhaps it was granted, and nobody is left who knows it: others would wait for nothing.
            self._waiting.forsake(name, ours)
            raise
        return Grant(frame, token, holder, versions)

    async def _keep(
        self, name: str, frame: bytes, seconds: float, tags: Sequence[str], token: bytes
    ) -> tuple[bool, Versions]:
        """The entry if the token says so, its tags kept alive for longer than it, and their versions after that."""
        life = _ms(max(TAG_SECONDS_MIN, 2 * seconds))
        kept = self._wire.run(
            _FILL,
            [self._keys.entry(name), self._keys.lease(name)],
            [token, frame, _ms(seconds), self._keys.filled, written(name)],
            deadline=self._deadline,
            big=len(frame) > BIG_BYTES,
        )
        # A large one travels on another connection: what is asked after it must be sent after it.
        first = [await kept] if len(frame) > BIG_BYTES else []
        extended = [self._wire.run(_EXTEND, [self._keys.tag(tag)], [life], deadline=self._deadline) for tag in tags]
        answers = [*first, *await every(extended if first else [kept, *extended])]
        return bool(answers[0]), dict(zip(tags, answers[1:], strict=True))


def _is_good(frame: bytes, versions: Versions) -> bool:
    """Whether an entry is still true, as far as these versions say."""
    entry = unpack(frame)
    if entry is None:
        return False
    return not versions.keys() >= set(entry.tags) or entry.is_current(versions)


def _digest(frame: bytes) -> str:
    # What scripts have to compare by; nothing is secured by it.
    return hashlib.sha1(frame, usedforsecurity=False).hexdigest()


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
