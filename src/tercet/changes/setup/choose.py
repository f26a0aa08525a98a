"""Which feed a server can give: its log as a stream, its log by polling, or triggers; and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.changes.setup.findings import DECODING_REPLICA

if TYPE_CHECKING:
    from tercet.changes.setup.findings import Findings, Server

Kind = Literal["stream", "poll", "triggers"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The feed to be used, None where there can be none, with one sentence each for it and against better ones."""

    kind: Kind | None
    why: str
    against: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((f"{self.kind or 'none'}: {self.why}", *self.against))


def choose(findings: Findings, *, replication: bool | None = None, slot: str | None = None) -> Choice:
    """The best feed that this server gives; `replication` says whether a replication connection was let in, if tried.

    `slot` is the one to be read: where it is there already, it does not matter that all are taken.

    A stream tells a commit within a millisecond; polling the same log does so within a quarter of a second, over
    ordinary connections; triggers need no log, and their writers pay.
    """
    server, against = findings.server, []
    undecoded = _undecoded(server, standing=any(one.name == slot for one in findings.slots))
    if undecoded is None:
        unstreamed = _unstreamed(server, replication=replication)
        if unstreamed is None:
            return Choice("stream", "The log is streamed over a replication connection, a commit within a millisecond.")
        why = "The log is polled over an ordinary connection, up to a quarter of a second late."
        return Choice("poll", why, (f"No stream: {unstreamed}.",))
    against.append(f"No stream and no polling: {undecoded}.")
    untriggered = _untriggered(server)
    if untriggered is None:
        why = "Triggers write the changes into a table, which is polled; each write costs its writer another one."
        return Choice("triggers", why, tuple(against))
    return Choice(None, f"{untriggered}.", tuple(against))


def _undecoded(server: Server, *, standing: bool) -> str | None:
    """Why its log cannot be decoded, if so."""
    if server.wal_level != "logical":
        return f"wal_level is {server.wal_level} (set it to logical, and restart the server)"
    if not server.may_replicate:
        return f"the login {server.login} may not replicate (alter role … replication)"
    if server.replica and server.number < DECODING_REPLICA:
        return "it is a replica, and they decode their log from PostgreSQL 16 on (ask the primary)"
    if server.slots >= server.slots_max and not standing:
        return f"all {server.slots_max} replication slots are taken (drop one, or raise max_replication_slots)"
    return None


def _unstreamed(server: Server, *, replication: bool | None) -> str | None:
    """Why its log cannot be streamed, if so."""
    if replication is False:
        return "the server lets no replication connection of ours in (pg_hba.conf, or a proxy)"
    if server.pooled and replication is None:
        return "a pooler is in between, which lets no replication connection through (give the feed a direct address)"
    if server.senders >= server.senders_max:
        return f"all {server.senders_max} senders are at work (raise max_wal_senders)"
    return None


def _untriggered(server: Server) -> str | None:
    """Why triggers cannot be, if so."""
    if server.replica:
        return "A replica takes no triggers: ask the primary"
    if not (server.may_create or server.change_table):
        return f"The login {server.login} may make no schema in {server.database} (grant create on the database)"
    return None
