"""What somebody has done: kept as a document, and counted once by user and kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID, uuid4

from tercet.errors import StoreError, UsageError
from tercet.router.key import is_object_id
from tercet.router.writing.saved import check_names
from tercet.wire import Script, checked_name

if TYPE_CHECKING:
    from tercet.clock import Clock
    from tercet.router.port import RedisLine

_COUNT = Script.beside(__file__, "count")

# How long it is remembered in Redis that an activity was counted. A retry that comes later, and a sweep of what is
# older, could count twice; so a sweep looks no further back than this less an hour.
MARK_SECONDS = 2 * 86_400
SWEEP_SECONDS = MARK_SECONDS - 3_600

# An id is the document's _id and part of a key of Redis.
_ID = re.compile(r"[A-Za-z0-9_.\-:]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An activity is kept; `counted` is false where Redis was not there to count it: `recount` does it later."""

    id: str
    counted: bool
    # How often the user has done this, as far as it is known.
    total: int | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The document of an activity, as far as counting needs it."""

    id: str
    user: Any
    kind: str
    counted: bool


class Journal(Protocol):
    """Where activities are kept as documents."""

    async def prepare(self) -> None:
        """Make what a recount needs to find what is left."""
        ...

    async def add(self, document: Mapping[str, Any]) -> Kept:
        """Keep this, unless one with its id is there; what is there then."""
        ...

    async def mark(self, id: str) -> None:  # noqa: A002 - it is called so everywhere
        """It was counted."""
        ...

    async def uncounted(self, since: datetime, most: int) -> list[Kept]:
        """The oldest that were not counted, from this moment on."""
        ...


class Activities:
    """Keeps activities and counts them; one that is told again with its id changes nothing."""

    def __init__(self, journal: Journal, line: RedisLine, *, clock: Clock, namespace: str = "tercet") -> None:
        self._journal, self._line, self._clock = journal, line, clock
        self._prefix = checked_name(namespace, "namespace", where="Activities")

    async def save(self, user_id: object, kind: str, data: Mapping[str, Any], *, id: str | None = None) -> Recorded:  # noqa: A002 - as above
        """Keep what a user has done, and count it; `id` makes a retry of the caller's the same activity.

        The document has the payload under `data`, so that it cannot stand for who or when. An error is MongoDB's:
        it is not known then whether it is kept, and the same id tried again settles it.
        """
        user, name = _user(user_id), _id(id)
        kind = checked_name(kind, "kind", where="An activity")
        if not isinstance(data, Mapping):
            raise UsageError(f"The data of an activity is a {type(data).__name__}.", "Give a dict of what happened.")
        check_names(data, "The data of an activity")
        document = {
            "_id": name,
            "data": dict(data),
            "user_id": user,
            "kind": kind,
            "at": self._clock.now(),
            "counted": False,
        }
        kept = await self._journal.add(document)
        if (kept.user, kept.kind) != (user, kind):
            raise UsageError(
                "The id of this activity belongs to another one, of another user or kind.",
                "Make an id for each activity, and give the same one only with the same activity again.",
            )
        if kept.counted:
            return Recorded(name, counted=True, total=None)
        try:
            total = await self._count(kept)
        except StoreError:
            return Recorded(name, counted=False, total=None)
        return Recorded(name, counted=True, total=total)

    async def prepare(self) -> None:
        """Make the index by which `recount` finds what is left; twice is fine."""
        await self._journal.prepare()

    async def recount(self, *, most: int = 1_000) -> int:
        """Count what a crash, or a Redis that was away, has left uncounted; how many that were.

        Some job should call this every few minutes; it finishes what is not older than two days.
        """
        since = self._clock.now() - timedelta(seconds=SWEEP_SECONDS)
        left = await self._journal.uncounted(since, most)
        for kept in left:
            await self._count(kept)
        return len(left)

    async def total(self, user_id: object, kind: str) -> int:
        """How often a user has done this."""
        kind = checked_name(kind, "kind", where="An activity")
        (value,) = await self._line.get_many([self._counter(_user(user_id), kind)])
        return int(value or 0)

    async def _count(self, kept: Kept) -> int:
        counter = self._counter(kept.user, kept.kind)
        mark = self._home(kept.user) + f":counted:{kept.id}".encode()
        total = await self._line.run(_COUNT, (counter, mark), (MARK_SECONDS,))
        await self._journal.mark(kept.id)
        return int(total)

    def _counter(self, user: object, kind: str) -> bytes:
        return self._home(user) + f":{kind}".encode()

    def _home(self, user: object) -> bytes:
        # All of a user in one slot of a cluster. Bytes that could end the braces early are written otherwise.
        written = re.sub(r"[^A-Za-z0-9_.\-]", lambda sign: f"%{ord(sign[0]):x};", str(user))
        return f"{self._prefix}:activity:{{{written}}}".encode()


def _user(user_id: object) -> object:
    if isinstance(user_id, bool) or not (isinstance(user_id, int | str | UUID) or is_object_id(type(user_id))):
        raise UsageError(
            f"A user was given as a {type(user_id).__name__}.", "Give an id: an int, str, UUID or ObjectId."
        )
    return user_id


def _id(name: object) -> str:
    if name is None:
        return str(uuid4())
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise UsageError(
            "The id of an activity is no id.", "Give 1 to 128 letters, digits, '_', '-', '.' or ':', such as a UUID."
        )
    return name
