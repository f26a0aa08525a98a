"""One step of a set-up: its statements, and who waits while they run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """Statements that belong together: in one transaction, unless `alone` says that each stands by itself."""

    # What it is for, in a few words.
    says: str
    statements: tuple[str, ...]
    # Which lock it takes, and who waits for it.
    lock: str
    alone: bool = False
    # An index that the statements build: a leftover of a failed build is dropped first. Schema and name.
    index: tuple[str, str] | None = None

    def sql(self) -> str:
        """As it is written into a migration."""
        body = ";\n".join(self.statements) + ";"
        if not self.alone and len(self.statements) > 1:
            body = f"begin;\n{body}\ncommit;"
        outside = " Outside of a transaction." if self.alone else ""
        return f"-- {self.says}. {self.lock}{outside}\n{body}"


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps a table from being followed, and what to do about it."""

    table: str
    says: str
    mend: str

    def __str__(self) -> str:
        return f"{self.table}: {self.says}. {self.mend}"
