"""Who plans: the shadow where a server of production's version is here, HypoPG where it is installed, else a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.hypopg import hypopg
from tercet.advisor.shadow import shadow
from tercet.errors import ServerMissing, TercetError

if TYPE_CHECKING:
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.flow.draft import Wishes
    from tercet.advisor.port import WhatIf
    from tercet.sql.port import Database

# The extension that plans with indexes that are not there.
_EXTENSION = "hypopg"


async def engine_for(database: Database, catalog: Catalog, wishes: Wishes) -> WhatIf:
    """The engine that was asked for, or the most exact one that can be had; its `why` says which and why.

    Raises ServerMissing with the mend where none can be had.
    """
    if wishes.engine == "hypopg":
        return await hypopg(database, catalog)
    if wishes.engine == "shadow":
        return await shadow(database, catalog, on_progress=wishes.progress)
    try:
        return await shadow(database, catalog, on_progress=wishes.progress)
    except ServerMissing as error:
        if _EXTENSION not in catalog.extensions:
            raise
        return _instead(await hypopg(database, catalog), error)


def _instead(engine: WhatIf, error: TercetError) -> WhatIf:
    """The engine that takes another's place, which says so."""
    engine.why = f"{engine.why.rstrip('.')}; no shadow could be made: {error}"
    return engine
