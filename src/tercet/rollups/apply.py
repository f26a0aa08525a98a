"""A view that was advised becomes one that is there, and kept as its policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.rollups.blocks import blocks
from tercet.rollups.kept.build import create_rollup, drop_named
from tercet.rollups.kept.of_view import rollup_of
from tercet.rollups.kept.rollup import Rollup
from tercet.rollups.kept.script import SCRIPT
from tercet.rollups.kept.statements import drops
from tercet.rollups.memory import forget
from tercet.rollups.relation import find
from tercet.rollups.views import create_view
from tercet.sql import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.advisor.views.policy import Policy
    from tercet.migrations import Database
    from tercet.rollups.keeper import Keeper
    from tercet.rollups.kept.ranges import Range
    from tercet.rollups.views import Created
    from tercet.sql import View
    from tercet.sql.identifier import Name


def planned(view: View, policy: Policy) -> View | Rollup:
    """What keeps `view` as `policy` says: itself, refreshed; or a rollup of its name, by triggers or a log.

    Raises UsageError for a view that its writers cannot keep.
    """
    if policy.way == "delta" or policy.way == "triggers":  # noqa: PLR1714 - so that each is known to be a Way
        return rollup_of(view, way=policy.way)
    return view


async def apply_view(
    database: Database,
    view: View,
    policy: Policy,
    *,
    keeper: Keeper | None = None,
    on_range: Callable[[Range], None] | None = None,
) -> Created:
    """Make `view` as `policy` says; statements over it are the same whatever keeps it.

    A `keeper` keeps it from then on. Without one, whoever runs the service does: db.keep(planned(view, policy), …).
    """
    what = planned(view, policy)
    if isinstance(what, Rollup):
        created = await create_rollup(database, what, on_range=on_range)
    else:
        created = await create_view(database, what)
    if keeper is not None and policy.every is not None:
        concurrently = {"plain": False, "concurrently": True}.get(policy.way)
        keeper.keep(what, every=policy.every, concurrently=concurrently)
    return created


def taken_back(name: Name, *, rollup: bool) -> tuple[str, ...]:
    """The statements by which drop_kept takes it away, for one transaction of somebody's own."""
    if not rollup:
        return (f"drop materialized view if exists {identifier(name)}",)
    forgotten = blocks(*SCRIPT)["forget"].format_map({"name": literal(identifier(name))})
    return (*drops(name), forgotten)


async def drop_kept(database: Database, name: Name) -> None:
    """Drop what is kept under this name, which has its schema in it, with all that was made for it.

    A materialized view, or a rollup of which any part is there; nothing happens where none is.
    """
    async with database.transaction() as connection:
        if await find(connection, identifier(name), "m") is not None:
            await connection.exec_driver_sql(f"drop materialized view {identifier(name)}")
            await forget(connection, identifier(name))
            return
    await drop_named(database, name)
