"""What PostgreSQL's refusals mean, by what it says before it has let us in."""

from __future__ import annotations

import psycopg
import pytest

from tercet.changes.stream.postgres_refusal import not_let_in
from tercet.errors import FeedRefused, LoginRefused, StoreUnreachable

AT = 'connection failed: connection to server at "10.0.0.7", port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        ('FATAL:  password authentication failed for user "shop"', LoginRefused, "does not accept this login"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "shop"', LoginRefused, "from here"),
        ('FATAL:  database "shop" does not exist', LoginRefused, "does not exist"),
        ("FATAL:  permission denied to start WAL sender", FeedRefused, "may not replicate"),
        ("FATAL:  must be superuser or replication role to start walsender", FeedRefused, "may not replicate"),
        (
            "FATAL:  number of requested standby connections exceeds max_wal_senders (currently 10)",
            FeedRefused,
            "max_wal_senders",
        ),
        ("SSL error: certificate verify failed", LoginRefused, "certificate is not trusted"),
        ("server does not support SSL, but SSL was required", LoginRefused, "encryption"),
        ("Connection refused\n\tIs the server running on that host?", StoreUnreachable, "refused"),
        ("FATAL:  sorry, too many clients already", StoreUnreachable, "no connection left"),
        ("FATAL:  the database system is starting up", StoreUnreachable, "starting up"),
        ("FATAL:  the database system is not yet accepting connections", StoreUnreachable, "not yet accepting"),
        ("FATAL:  das Datenbanksystem startet", StoreUnreachable, "das Datenbanksystem startet"),
        ("server closed the connection unexpectedly", StoreUnreachable, "the connection was lost"),
    ],
)
def test_a_connection_that_fails_says_why_in_words_of_ours(said: str, kind: type[Exception], reason: str) -> None:
    """What people must mend is told apart from what ends by itself; what is not known counts as the latter."""
    error = not_let_in(psycopg.OperationalError(AT + said), address="db:5432")
    assert type(error) is kind
    assert reason in str(error)
    assert "10.0.0" not in str(error)
