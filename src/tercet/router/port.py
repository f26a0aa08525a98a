"""What the router asks of stores: a reader for each, and what carries a save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from tercet.router.key import Key
    from tercet.router.plan import Source
    from tercet.wire import Reply, Script, Word

# What lies under one key: a raw value for each field of the source, or why there is none for this key alone.
Found: TypeAlias = "tuple[Any, ...] | Exception"


class Reader(Protocol):
    """Reads one source of one store."""

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """The errors that are the store's; any other is a mistake in the program, and never degrades."""
        ...

    async def read(self, source: Source, keys: Mapping[Key, Key]) -> Mapping[Key, Found]:
        """What lies under these keys, by the entity's key, in one round trip; `keys` gives the store's own of each."""
        ...


class CoreConnection(Protocol):
    """A connection that takes statements of SQLAlchemy's Core (an AsyncConnection)."""

    def execute(self, statement: Any, parameters: Any = None, /) -> Awaitable[Any]:
        """Run one statement."""
        ...

    def execution_options(self, **options: Any) -> Awaitable[Any]:
        """The connection, for statements with these options."""
        ...


class Postgres(Protocol):
    """Hands out connections; `db.postgres` fulfils it as it is."""

    def connection(self) -> AbstractAsyncContextManager[CoreConnection]:
        """A connection, given back at the end of the block."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[CoreConnection]:
        """A connection inside BEGIN, committed when the block ends well."""
        ...


class Mongo(Protocol):
    """PyMongo's AsyncDatabase; `db.mongo` is one."""

    def __getitem__(self, name: str, /) -> Any:
        """The collection of that name."""
        ...


class RedisLine(Protocol):
    """What is used of a wire; each raises a StoreError within its deadline where Redis does not do it."""

    @property
    def deadline(self) -> float:
        """Seconds that a command has which names none."""
        ...

    def call(self, *words: Word, deadline: float | None = None) -> Awaitable[Reply]:
        """Send one command; those of a loop tick leave together."""
        ...

    def get_many(self, keys: Sequence[bytes], *, deadline: float | None = None) -> Awaitable[list[bytes | None]]:
        """The values of these keys in their order, None where there is none."""
        ...

    def scan(self, match: bytes) -> AsyncIterator[list[bytes]]:
        """The keys that match, in portions."""
        ...

    def run(self, script: Script, keys: Sequence[bytes], words: Sequence[Word] = ...) -> Awaitable[Reply]:
        """Run a script."""
        ...


class Session(Protocol):
    """A session or connection of SQLAlchemy's, in a transaction."""

    def execute(self, statement: Any, parameters: Any = None, /) -> Awaitable[Any]:
        """Run one statement."""
        ...


class EntityTransaction(Protocol):
    """A transaction whose events commit with its rows: what `db.transaction()` gives."""

    @property
    def session(self) -> Session:
        """Where its statements run."""
        ...

    def emit(self, *events: object) -> None:
        """These happen if it commits, and only then."""
        ...
