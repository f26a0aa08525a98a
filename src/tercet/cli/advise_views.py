"""Views that were advised, as what their policy says: refreshed, or kept by what writers do."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from tercet.advisor.views.policy import REFRESH_SHARE_MAX, Policy
from tercet.errors import UsageError
from tercet.migrations import MakeRollup
from tercet.rollups import Rollup, planned, script
from tercet.sql import View, identifier
from tercet.sql.identifier import table_parts
from tercet.units import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor import Advice, Piece
    from tercet.migrations import Database


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is made for a view, by which policy; `note` says why that is another one than was advised."""

    what: View | Rollup
    policy: Policy
    note: str = ""

    @property
    def mark_on(self) -> str:
        """The quoted index that the advice's mark is put on: that of its key."""
        if isinstance(self.what, Rollup):
            return identifier(self.what.beside("kept_key"))
        return self.what.unique_index.qualified


def keeping(piece: Piece) -> Keeping:
    """What is to be made of a piece that is a view.

    Where its writers cannot keep it, whatever was advised, it is refreshed.
    """
    assert isinstance(piece.value, View)
    policy = piece.policy or Policy("once", "")
    try:
        return Keeping(planned(piece.value, policy), policy)
    except UsageError as error:
        every = piece.refresh_seconds / REFRESH_SHARE_MAX if piece.refresh_seconds else None
        other = Policy("concurrently", "as often as it can be done", max(every, 1.0) if every else None)
        return Keeping(piece.value, other, f"it is refreshed instead: {error.says}")


async def rollup_step(database: Database, rollup: Rollup, why: str, comment: str) -> MakeRollup:
    """The rollup as a step of a migration, for a database like this one."""
    made = await script(database, rollup)
    return MakeRollup(
        made.name, why, made.make, made.state, made.served, made.following, made.fill, made.finish,
        made.place, made.key, made.indexes, made.drop, comment,
    )  # fmt: skip
