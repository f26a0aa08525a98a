"""Somebody whose transaction a build has to wait for, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from tercet.units import duration


@dataclass(frozen=True, slots=True)
class Blocker:
    """A transaction that must end before a build can go on.

    `pid` is None for a prepared transaction, which `gid` names then. Ages are in seconds, None where the login may
    not see them. No statement's text is in it.
    """

    pid: int | None
    gid: str = ""
    user: str = ""
    application: str = ""
    state: str = ""
    age: float | None = None
    # Since its last statement began.
    statement_age: float | None = None
    # It holds a lock on the table; else only an old view of the data.
    locks: bool = False

    def words(self) -> str:
        """Who it is, what it does and for how long, in one line."""
        who = f"process {self.pid}" if self.pid is not None else f"the prepared transaction {self.gid!r}"
        names = ", ".join(name for name in (self.application, self.user) if name)
        parts = [f"{who} ({names})" if names else who]
        if self.pid is not None:
            parts.append(self.state or "what it does is not shown to this login")
        if self.age is not None:
            parts.append(f"its transaction is {duration(self.age)} old")
        if self.statement_age is not None and self.pid is not None:
            parts.append(f"its last statement began {duration(self.statement_age)} ago")
        parts.append("it has locked the table" if self.locks else "it may still look at old rows")
        return ", ".join(parts)

    def mend(self) -> str:
        """What would end it."""
        if self.pid is None:
            name = self.gid.replace("'", "''")
            return f"commit prepared '{name}' or rollback prepared '{name}'"
        return f"select pg_terminate_backend({self.pid})"
