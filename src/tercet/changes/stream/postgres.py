"""PostgreSQL's side of a feed: the source that reads a place, and the leader that lets one process do so."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tercet.changes.changes import Changes
from tercet.changes.stream.postgres_address import read_conninfo
from tercet.changes.stream.postgres_leader import PostgresLeader
from tercet.changes.stream.postgres_line import Door
from tercet.changes.stream.postgres_source import PostgresSource

if TYPE_CHECKING:
    from tercet.changes.feeding.place import Place
    from tercet.clock import Clock
    from tercet.settings import Settings
    from tercet.telemetry import Telemetry

# The publication that the set-up makes.
PUBLICATION = "tercet"


class PostgresEdge:
    """Makes the sources and leaders of one database."""

    def __init__(self, settings: Settings, *, publication: str = PUBLICATION, streaming: bool = False) -> None:
        """`publication` says which tables are told; `streaming` has large transactions sent while they still run."""
        url = settings.url("postgres")
        address = url.place if url is not None else ""
        self._door = Door(read_conninfo(settings), address, settings.postgres_connect_timeout)
        self._publication, self._streaming = publication, streaming
        self._slots: dict[str, str] = {}

    def source(self, place: Place) -> PostgresSource:
        """What reads this place once."""
        # A name of its own each time: the one before may still be dying.
        passing = place.passing_slot(secrets.token_hex(4))
        self._slots[place.name] = passing
        return PostgresSource(self._door, place, passing, publication=self._publication, streaming=self._streaming)

    def leader(self, place: Place) -> PostgresLeader:
        """What lets one process read this place."""
        return PostgresLeader(
            self._door, place, lambda: place.slot if place.durable else self._slots.get(place.name, "")
        )


def postgres_changes(
    settings: Settings,
    *,
    clock: Clock,
    telemetry: Telemetry,
    publication: str = PUBLICATION,
    service: str | None = None,
    streaming: bool = False,
) -> Changes:
    """The changes of the PostgreSQL in the settings; nothing is connected before somebody subscribes.

    `service` is what its processes share, by default the settings' application_name.
    """
    edge = PostgresEdge(settings, publication=publication, streaming=streaming)
    return Changes(
        edge.source, edge.leader, service=service or settings.application_name, clock=clock, telemetry=telemetry
    )
