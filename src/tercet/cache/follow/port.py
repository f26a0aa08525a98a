"""What following asks of a feed, and of the store behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tercet.cache.follow.following import Following
    from tercet.changes.port import Listener
    from tercet.witness import Seen


class Status(Protocol):
    """How a subscription stands in this process."""

    @property
    def state(self) -> str:
        """What it does: "reading" where it reads, "following" where another process of the service does."""
        ...

    @property
    def leading(self) -> bool:
        """Whether it is this process that reads."""
        ...


class Subscription(Protocol):
    """A listener's place in a feed."""

    async def ready(self) -> None:
        """Return once changes are heard, by this process or by the one that leads."""
        ...

    def status(self) -> Status:
        """How it stands in this process."""
        ...

    async def close(self) -> None:
        """Tell the listener nothing more."""
        ...


class Changes(Protocol):
    """A feed of one store's changes; `db.changes` is PostgreSQL's."""

    def subscribe(self, listener: Listener, *, durable: str | None = None, place: str | None = None) -> Subscription:
        """Tell `listener` what is committed; of all processes that name the same place, one is told."""
        ...


@runtime_checkable
class Sees(Protocol):
    """A feed that can ask its store's primary what it shows."""

    async def seen(self) -> Seen | None:
        """What a read of the primary sees now; None where it does not say. Raises a StoreError."""
        ...


@runtime_checkable
class Followed(Protocol):
    """A feed whose writers wait until this process has heard of their own commits."""

    def followed_by(self, hearing: Following) -> Callable[[], None]:
        """From now on a commit of this process returns once this has heard of it; what is returned ends that."""
        ...


@runtime_checkable
class Covers(Protocol):
    """A feed that knows which columns of a table are told of rows that change or go."""

    async def covered(self, tables: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        """Of each of these tables, and those of the columns wanted, the ones whose old values are told.

        A table that is not there is left out. Raises a StoreError, and a UsageError for a column that is not there.
        """
        ...
