"""What the commands of one loop tick become: asks, each with one reply, in the order in which they are sent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tercet.wire.port import Reply, Word
    from tercet.wire.script import Script

    Pack: TypeAlias = Callable[[Sequence[Word]], bytes]

# One MGET asks for this many keys at most: a longer one holds up everybody else on the server.
CHUNK_KEYS = 512

NEVER = math.inf


class Ask:
    """Something sent that has exactly one reply; `due` is when its callers stop waiting."""

    __slots__ = ("always", "deadline", "due", "hops", "payload", "tries")

    # Whether it may be sent again when its connection was lost: only what changes nothing.
    repeatable = False

    def __init__(self, payload: bytes, deadline: float) -> None:
        self.payload = payload
        self.deadline = deadline
        self.due = NEVER
        # How often it was sent again on another connection, and how often to another server.
        self.tries = 0
        self.hops = 0
        # Sent though the server is not asked at present.
        self.always = False

    @property
    def size(self) -> int:
        """How many callers it stands for."""
        return 1

    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return True

    def answer(self, reply: Reply) -> None:
        """Hand the reply to whoever still waits."""

    def refuse(self, make: Callable[[], Exception]) -> bool:
        """Take note of an error reply; whether another reply is still to come."""
        del make
        return False

    def fail(self, make: Callable[[], Exception]) -> None:
        """Hand an error to whoever still waits, to each his own; the reply may still come and is passed over."""
        del make
        self.due = NEVER


class Call(Ask):
    """A command of one caller."""

    __slots__ = ("future", "key", "script", "tail")

    def __init__(self, payload: bytes, deadline: float, future: Future[Reply], key: Word | None = None) -> None:
        super().__init__(payload, deadline)
        self.future = future
        self.key = key
        # What EVAL needs when the server does not know the script: number of keys, keys and words.
        self.script: Script | None = None
        self.tail: tuple[Word, ...] = ()

    def wanted(self) -> bool:
        """Whether its caller has not gone away."""
        return not self.future.done()

    def answer(self, reply: Reply) -> None:
        """The reply is the result."""
        if not self.future.done():
            self.future.set_result(reply)

    def fail(self, make: Callable[[], Exception]) -> None:
        """The error is the result."""
        self.due = NEVER
        if not self.future.done():
            self.future.set_exception(make())


class Many(Call):
    """One MGET of one caller: the list that comes is the result."""

    __slots__ = ()
    repeatable = True


class Gets(Ask):
    """GETs of a tick in one MGET; equal ones share a key, and every caller has a future of its own."""

    __slots__ = ("keys", "waiters")
    repeatable = True

    def __init__(
        self, keys: Sequence[bytes], waiters: Sequence[Sequence[Future[Reply]]], payload: bytes, deadline: float
    ) -> None:
        super().__init__(payload, deadline)
        self.keys = keys
        self.waiters = waiters

    @property
    def size(self) -> int:
        """How many callers it stands for."""
        return sum(map(len, self.waiters))

    def wanted(self) -> bool:
        """Whether one of its callers has not gone away."""
        return any(not one.done() for waiters in self.waiters for one in waiters)

    def answer(self, reply: Reply) -> None:
        """To each caller the value of its key."""
        for waiters, value in zip(self.waiters, reply, strict=True):
            for one in waiters:
                if not one.done():
                    one.set_result(value)

    def fail(self, make: Callable[[], Exception]) -> None:
        """To each caller an error of its own."""
        self.due = NEVER
        for waiters in self.waiters:
            for one in waiters:
                if not one.done():
                    one.set_exception(make())

    def split(self, pack: Pack) -> list[Gets]:
        """The same as one MGET a key: when it was refused as a whole, one key may be to blame."""
        parts = [
            Gets((key,), (waiters,), pack((b"MGET", key)), self.deadline)
            for key, waiters in zip(self.keys, self.waiters, strict=True)
        ]
        for part in parts:
            part.due = self.due
        return parts


class PlainGets(Gets):
    """GETs of which no two are equal: one future a key, in the same order."""

    __slots__ = ("alone",)

    def __init__(self, keys: Sequence[bytes], alone: Sequence[Future[Reply]], payload: bytes, deadline: float) -> None:
        super().__init__(keys, (), payload, deadline)
        self.alone = alone

    @property
    def size(self) -> int:
        """How many callers it stands for."""
        return len(self.alone)

    def wanted(self) -> bool:
        """Whether one of its callers has not gone away."""
        return any(not one.done() for one in self.alone)

    def answer(self, reply: Reply) -> None:
        """To each caller the value of its key."""
        for one, value in zip(self.alone, reply, strict=True):
            if not one.done():
                one.set_result(value)

    def fail(self, make: Callable[[], Exception]) -> None:
        """To each caller an error of its own."""
        self.due = NEVER
        for one in self.alone:
            if not one.done():
                one.set_exception(make())

    def split(self, pack: Pack) -> list[Gets]:
        """The same as one MGET a key."""
        parts: list[Gets] = [
            PlainGets((key,), (one,), pack((b"MGET", key)), self.deadline)
            for key, one in zip(self.keys, self.alone, strict=True)
        ]
        for part in parts:
            part.due = self.due
        return parts


def gets(
    keys: list[bytes], futures: list[Future[Reply]], *, pack: Pack, deadline: float, chunk: int = CHUNK_KEYS
) -> Iterator[Gets]:
    """The MGETs that these GETs become: each key asked once, in chunks."""
    distinct = dict.fromkeys(keys)
    if len(distinct) == len(keys) <= chunk:
        yield PlainGets(keys, futures, pack((b"MGET", *keys)), deadline)
        return
    sharers: dict[bytes, list[Future[Reply]]] = {key: [] for key in distinct}
    for key, future in zip(keys, futures, strict=True):
        sharers[key].append(future)
    asked = list(sharers)
    for start in range(0, len(asked), chunk):
        part = asked[start : start + chunk]
        yield Gets(part, [sharers[key] for key in part], pack((b"MGET", *part)), deadline)


def by_slot(
    keys: list[bytes], futures: list[Future[Reply]], slot_of: Callable[[bytes], int]
) -> Iterable[tuple[list[bytes], list[Future[Reply]]]]:
    """The same GETs, those of each slot of a cluster together: a MGET over two slots is refused."""
    spread: dict[int, tuple[list[bytes], list[Future[Reply]]]] = {}
    for key, future in zip(keys, futures, strict=True):
        part = spread.setdefault(slot_of(key), ([], []))
        part[0].append(key)
        part[1].append(future)
    return spread.values()
