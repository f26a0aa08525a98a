"""What the outbox asks of whoever keeps its events, and of the stores in which effects happen once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from tercet.changes.outbox.delivery import Work
    from tercet.changes.outbox.event import Envelope
    from tercet.changes.port import Listener

Once = Literal["postgres", "mongo", "redis"]

# A name, or what will know it.
Late: TypeAlias = "str | Callable[[], str]"

# Makes a consumer's effect, given what belongs to the store's transaction: a connection, a session, a pipeline.
Effect: TypeAlias = "Callable[[Any], Awaitable[object]]"


# Lanes, letters, and the consumers with their types that were not known.
Barred: TypeAlias = "tuple[set[tuple[str, str]], set[tuple[str, str]], Mapping[str, Sequence[str]]]"


class Transaction(Protocol):
    """An AsyncConnection or an AsyncSession of SQLAlchemy, in a transaction."""

    def execute(self, statement: Any, parameters: Any = None, /) -> Awaitable[Any]:
        """Run one statement."""
        ...


class Database(Protocol):
    """Hands out transactions in PostgreSQL; `db.postgres` does."""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A connection inside BEGIN, committed when the block ends well."""
        ...


class Feed(Protocol):
    """Tells a listener of commits, for good and in one process of all; `db.changes` does."""

    def subscribe(self, listener: Listener, *, durable: str | None = None, service: str | None = None) -> Subscription:
        """Tell it from a place that is kept, in one process of all that name the same service."""
        ...


class Subscription(Protocol):
    """A listener's place in a feed."""

    async def close(self) -> None:
        """Tell it no more."""
        ...


class Book(Protocol):
    """Keeps what waits, what is dead and who consumes; in PostgreSQL, and in memory for tests."""

    async def emit(self, transaction: Transaction, events: Sequence[tuple[Envelope, bytes]]) -> None:
        """Say these events in the caller's transaction."""
        ...

    async def keep(self, envelopes: Sequence[tuple[Envelope, bytes]]) -> None:
        """Keep these, so that they can be replayed; those that are kept already are left."""
        ...

    async def barred(self, works: Sequence[Work], known: Mapping[str, Sequence[str]]) -> Barred:
        """Which lanes of these have something that waits, which of these (consumer, id) are dead; and who is new."""
        ...

    async def park(self, works: Sequence[Work], token: str, lease: float) -> None:
        """Keep these, in this order; those leased belong to the token. One that is there already is left."""
        ...

    async def claim(self, consumers: Sequence[str], types: Sequence[str], token: str, lease: float) -> Sequence[Work]:
        """What is due, whole beginnings of lanes in their order; of no consumer ("") where its type is one of these."""
        ...

    async def settle(self, works: Sequence[Work], token: str) -> None:
        """Write down what has become of these, where they still belong to the token."""
        ...

    async def claim_table(self, token: str, lease: float) -> Sequence[tuple[int, bytes]]:
        """Events out of the table, settled and in order, of keys that nobody else holds."""
        ...

    async def release_table(self, numbers: Sequence[int], token: str) -> None:
        """These were taken care of, if they still belong to the token."""
        ...

    async def renew(self, tokens: Sequence[str], lease: float) -> None:
        """What belongs to these tokens does so for longer."""
        ...

    async def enrol(self, consumers: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Say who consumes which types here, and be told who does so anywhere."""
        ...

    async def prune(self, *, kept: float | None, inbox: float) -> None:
        """Forget events that were kept, and marks of effects, that are older than so many seconds."""
        ...


class Inbox(Protocol):
    """Makes effects in one store, each once."""

    async def prepare(self) -> None:
        """Whatever must be there before the first effect."""
        ...

    async def once(self, consumer: str, event_id: str, effect: Effect) -> bool:
        """Make the effect together with a mark that it was made; False where the mark was there already."""
        ...


def said(name: Late | None) -> str | None:
    """The name, asked for now where it was not known before."""
    return name() if callable(name) else name
