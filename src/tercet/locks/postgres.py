"""The fence in PostgreSQL: a transaction with an older token than one that was seen is refused."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

from tercet.errors import ExtraMissing, FencedOff

try:
    from sqlalchemy import text
except ImportError as error:
    raise ExtraMissing("The fence in PostgreSQL", module="sqlalchemy", extra="postgres") from error

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Transaction(Protocol):
    """An AsyncConnection or an AsyncSession of SQLAlchemy, in a transaction."""

    def execute(self, statement: Any, parameters: Any = None, /) -> Awaitable[Any]:
        """Run one statement."""
        ...


async def create_fence(transaction: Transaction) -> None:
    """Make the table `tercet_fence` where it is missing; two who do it at once do not disturb each other."""
    # Without it, "if not exists" fails for the second of two who both find it missing.
    await transaction.execute(_STATEMENTS["alone"])
    await transaction.execute(_STATEMENTS["create"])


async def fence(transaction: Transaction, name: str, token: int) -> None:
    """Let this transaction write under `token`, or raise FencedOff when a newer one has been here before.

    It belongs into the transaction that writes, before it writes: the row that it takes is held until the commit,
    so that a newer token cannot come in between. A transaction that was refused is to be rolled back. `name` is
    what is guarded, mostly the name of the lock.
    """
    passed = await transaction.execute(_STATEMENTS["pass"], {"name": name, "token": token})
    if passed.first() is None:
        newest = await transaction.execute(_STATEMENTS["newest"], {"name": name})
        raise FencedOff(name, token=token, newest=newest.scalar())


def _statements() -> dict[str, Any]:
    """The statements of fence.sql by their names."""
    written = files("tercet.locks").joinpath("fence.sql").read_text(encoding="utf-8")
    _, *parts = written.split("-- name: ")
    named = (part.partition("\n") for part in parts)
    return {name.strip(): text(body.strip()) for name, _, body in named}


_STATEMENTS = _statements()
