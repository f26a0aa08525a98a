"""The server of a copy: production's major version, with room for gigabytes."""

from __future__ import annotations

from tercet.advisor.private import Cluster, Recipe, major_of

# What plans depend on is set as production has it; this is where nobody knows.
_SETTINGS = (
    # A table that is made and filled in one transaction needs no log.
    "wal_level=minimal",
    "max_wal_size=4GB",
    "shared_buffers=256MB",
    "maintenance_work_mem=256MB",
    "work_mem=64MB",
    "effective_cache_size=1GB",
    "random_page_cost=1.1",
    # Each run begins at the first page.
    "synchronize_seqscans=off",
    "track_io_timing=off",
    "max_locks_per_transaction=256",
)


def server_for(version: int) -> Cluster:
    """A server of this server_version_num's major version (0: any), to be started."""
    return Cluster(Recipe(major_of(version), _SETTINGS))
