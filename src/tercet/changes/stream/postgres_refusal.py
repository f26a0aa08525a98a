"""What PostgreSQL's refusals mean for whoever reads its changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.errors import ExtraMissing, FeedRefused, LoginRefused, PositionLost, StoreError, StoreUnreachable

try:
    from psycopg import pq
except ImportError as error:
    raise ExtraMissing("The change feed of PostgreSQL", module="psycopg", extra="changes") from error

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGresult

# Enough for any sentence of PostgreSQL's about a command of ours.
_REASON_CHARS = 200

LOST = "the connection was lost"

# SQLSTATE, or its first two characters.
_UNREACHABLE = {
    "": LOST,
    "53300": "it has no connection left to give",
    "57P01": "it is being shut down, or an administrator has ended the connection",
    "57P02": "it has crashed and restarts",
    "57P03": "it is starting up or shutting down",
    "08": LOST,
}
_LOGIN = {"28": "it does not accept this login", "3D000": "the database does not exist"}
# What was kept for a slot is gone: it was cut off (55000), its log was removed (58P01), or it was dropped (42704).
_LOST = {
    "55000": "the server has cut its slot off",
    "58P01": "the server has removed the log that its slot still needed",
    "42704": "its slot is gone",
}
_MENDS = {
    "42501": "Give the login of postgres_url the right to: ALTER ROLE … REPLICATION.",
    "53400": "Raise max_replication_slots, or drop a slot that nobody reads: SELECT * FROM pg_replication_slots.",
    "0A000": "Read from a server that decodes its log: PostgreSQL 14 or newer, and no pooler in between.",
}
_BUSY = "55006"

# What a server says before it has let us in; libpq hands on the sentence alone, and servers say it in English then
# unless lc_messages is another. What is not known counts as away.
_SAID: tuple[tuple[str, type[StoreError], str], ...] = (
    ("permission denied to start WAL sender", FeedRefused, "this login may not replicate"),
    ("must be superuser or replication role", FeedRefused, "this login may not replicate"),
    ("max_wal_senders", FeedRefused, "all its senders are taken (max_wal_senders)"),
    ("authentication failed", LoginRefused, "it does not accept this login"),
    ("no pg_hba.conf entry", LoginRefused, "it does not accept this login from here"),
    ("no password supplied", LoginRefused, "it wants a password"),
    ('" does not exist', LoginRefused, "the database or the role does not exist"),
    ("certificate verify failed", LoginRefused, "its certificate is not trusted (postgres_tls_ca)"),
    ("certificate", LoginRefused, "its certificate is not trusted (postgres_tls_ca)"),
    ("does not support SSL", LoginRefused, "the two sides do not agree on encryption (postgres_tls)"),
    ("refused", StoreUnreachable, "the connection is refused"),
    ("too many clients", StoreUnreachable, "it has no connection left to give"),
    ("starting up", StoreUnreachable, "it is starting up"),
    ("shutting down", StoreUnreachable, "it is shutting down"),
    ("recovery mode", StoreUnreachable, "it has crashed and restarts"),
    ("timeout", StoreUnreachable, "no connection was made in time"),
    ("resolve", StoreUnreachable, "its host name is not known"),
)
_MEND_SAID = {
    "this login may not replicate": _MENDS["42501"],
    "all its senders are taken (max_wal_senders)": "Raise max_wal_senders, or end a replica that is not needed.",
}


class SlotBusy(StoreUnreachable):
    """The slot is still read by another process, mostly one that is dying."""

    def __init__(self, address: str = "") -> None:
        super().__init__("postgres", reason="the slot is still read by another process", address=address)


def refused(result: PGresult, *, address: str, place: str) -> StoreError:
    """The error that a statement's failed result means."""
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")[:_REASON_CHARS]
    # Without a state it is libpq that says so: the server has gone while it was asked.
    if reason := _UNREACHABLE.get(state) or _UNREACHABLE.get(state[:2]):
        return gone(address, reason)
    if reason := _LOGIN.get(state) or _LOGIN.get(state[:2]):
        return LoginRefused("postgres", reason=reason, address=address)
    if state == _BUSY:
        return SlotBusy(address)
    if state == "42704" and "publication" in said:
        return publication_missing(said)
    if state in _LOST:
        return PositionLost("postgres", place=place, reason=_LOST[state])
    return FeedRefused(
        "postgres", reason=f"{said} ({state})", mend=_MENDS.get(state, "tercet doctor says what is missing.")
    )


def not_let_in(error: psycopg.Error, *, address: str) -> StoreError:
    """The error that a failed connection means."""
    text = str(error)
    for said, kind, reason in _SAID:
        if said in text:
            if kind is FeedRefused:
                return FeedRefused("postgres", reason=reason, mend=_MEND_SAID[reason])
            return (
                LoginRefused("postgres", reason=reason, address=address)
                if kind is LoginRefused
                else gone(address, reason)
            )
    # What the server has said itself, in whatever language; libpq's own words may hold the address.
    told = text.partition("FATAL:")[2].strip().partition("\n")[0][:_REASON_CHARS]
    return gone(address, told or LOST)


def gone(address: str, reason: str = LOST) -> StoreUnreachable:
    """Nobody answers any more."""
    return StoreUnreachable("postgres", reason=reason, address=address)


def publication_missing(what: str) -> FeedRefused:
    """Nothing says which tables are told."""
    return FeedRefused(
        "postgres",
        reason=what,
        mend="Let the set-up make it: tercet doctor --setup TABLE:COLUMN --apply, or db.changes.set_up(…).",
    )
