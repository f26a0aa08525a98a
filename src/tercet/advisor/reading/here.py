"""Whether a database is on this machine, so that its rows may be copied without leaving it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tercet.sql.port import Database

# A Unix socket has no address at all.
_ADDRESS = """
select coalesce(inet_server_addr() <<= any (array['127.0.0.0/8', '::1/128']::inet[]), true), pg_backend_pid()
"""


async def is_here(database: Database) -> bool:
    """Whether its server is reached without a network and its process is one of this machine's.

    A tunnel ends at a local address too; but its server's process is not found here. In doubt it is elsewhere.
    """
    async with database.transaction() as connection:
        local, process = (await connection.exec_driver_sql(_ADDRESS)).all()[0]
    return bool(local) and _runs(process)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
