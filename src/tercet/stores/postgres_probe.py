"""One bare connection to PostgreSQL: how it is made, what it asks the server, and what its errors mean."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from tercet.errors import DeadlinePassed, LoginRefused, StoreError, StoreUnreachable
from tercet.stores.both import both, cause_of, distrust, why
from tercet.stores.port import Vital
from tercet.stores.reads.postgres_witness import source_of

if TYPE_CHECKING:
    from tercet.settings import Settings
    from tercet.telemetry.event import Store as StoreName

# The server ends a statement at its limit and says so; the client waits a little longer before it gives up on
# the server, so that the server's clear answer comes first.
GRACE_SECONDS = 2.0
# Dead clients are found by the server after 60 s + 3 × 10 s, and firewalls see the connection used.
_KEEPALIVE = {"tcp_keepalives_idle": "60", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}

_LIMITS = """
SELECT current_setting('server_version'),
       pg_is_in_recovery(),
       current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true), '0')::int,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int
"""

# SQLSTATE, or its first two characters, and what it means for whoever waits for an answer.
_UNREACHABLE = {
    "53300": "it has no connection left to give",
    "57P01": "it is being shut down",
    "57P02": "it has crashed and restarts",
    "57P03": "it is starting up or shutting down",
    "08": "the connection was lost",
}
_REFUSED = {"28": "it does not accept this login", "3D000": "the database does not exist"}
_STATEMENT_TOO_LONG = "57014"
_IDLE_TOO_LONG = "25P03"

# libpq knows these, asyncpg would send them on to the server, and the server would refuse them.
_CLIENT_ONLY = frozenset(
    {
        "channel_binding", "connect_timeout", "gssencmode", "keepalives", "keepalives_count",
        "keepalives_idle", "keepalives_interval", "load_balance_hosts", "requirepeer", "tcp_user_timeout",
        # SQLAlchemy's own, in addresses that were written for it.
        "async_fallback", "prepared_statement_cache_size",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class Dsn:
    """What to hand to asyncpg; it carries the password and therefore does not show itself."""

    dsn: str
    tls: str | ssl.SSLContext | None
    named: bool


def read_dsn(text: str, *, tls: str | None, tls_ca: str | None) -> Dsn:
    """The address for asyncpg: libpq's forms, several hosts, sockets and ?sslmode= included.

    `tls` and `tls_ca` win over what the address says. Verification without a certificate authority named
    anywhere uses the machine's own list.
    """
    parts = urlsplit(text)
    query = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=False) if k not in _CLIENT_ONLY]
    words = dict(query)
    mode = tls or words.get("sslmode") or words.get("ssl")
    authority = tls_ca or words.get("sslrootcert")
    for used in ("sslmode", "ssl", "sslrootcert"):
        words.pop(used, None)
    context: str | ssl.SSLContext | None = mode
    if mode in {"verify-ca", "verify-full"} and authority in {None, "system"}:
        context = ssl.create_default_context()
        context.check_hostname = mode == "verify-full"
    elif authority:
        words["sslrootcert"] = authority
    dsn = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(words), ""))
    # urlunsplit drops the slashes of an address without a host: postgresql:///shop?host=/run/postgresql
    if not parts.netloc:
        dsn = dsn.replace("postgresql:", "postgresql://", 1) if "://" not in dsn else dsn
    return Dsn(dsn, context, "application_name" in words)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a driver's error means for the caller."""

    address: str
    settings: Settings

    def of(self, error: Exception, *, connecting: bool, limit: float) -> StoreError | None:
        """The tercet error for it, or None where the driver's own error says it best."""
        state = str(getattr(error, "sqlstate", None) or "")
        if reason := _UNREACHABLE.get(state) or _UNREACHABLE.get(state[:2]):
            return self._unreachable(reason)
        if reason := _REFUSED.get(state) or _REFUSED.get(state[:2]):
            return LoginRefused("postgres", reason=reason, address=self.address)
        # The same state is sent when somebody has cancelled the statement, which is not a deadline.
        if state == _STATEMENT_TOO_LONG and "user request" not in str(error):
            return DeadlinePassed("postgres", what="a statement", deadline=limit)
        if state == _IDLE_TOO_LONG:
            idle = self.settings.postgres_idle_timeout
            return DeadlinePassed("postgres", what="a transaction that did nothing", deadline=idle)
        return self._of_the_network(error, connecting=connecting, limit=limit)

    def _of_the_network(self, error: Exception, *, connecting: bool, limit: float) -> StoreError | None:
        if distrusted := distrust(error, setting="postgres_tls_ca"):
            return LoginRefused("postgres", reason=distrusted, address=self.address)
        if isinstance(error, ssl.SSLError) or "SSL upgrade" in str(error):
            reason = "the two sides do not agree on encryption (postgres_tls)"
            return LoginRefused("postgres", reason=reason, address=self.address)
        if isinstance(error, TimeoutError) and not connecting:
            return DeadlinePassed("postgres", what="a statement", deadline=limit)
        if isinstance(error, OSError):
            return self._unreachable(why(error))
        closed = cause_of(error, asyncpg.InterfaceError)
        if closed is not None and "closed" in str(closed):
            return self._unreachable(why(error))
        return None

    def _unreachable(self, reason: str) -> StoreUnreachable:
        return StoreUnreachable("postgres", reason=reason, address=self.address)


async def connect(settings: Settings, address: Dsn) -> asyncpg.Connection:
    """A bare asyncpg connection with every limit set; raises asyncpg's own errors."""
    limit = settings.postgres_statement_timeout
    server: dict[str, str] = {} if address.named else {"application_name": settings.application_name}
    if not settings.postgres_pooler:
        # PgBouncer refuses parameters that it cannot keep for each client.
        server |= _KEEPALIVE | {
            "statement_timeout": str(round(limit * 1000)),
            "idle_in_transaction_session_timeout": str(round(settings.postgres_idle_timeout * 1000)),
        }
    keywords: dict[str, Any] = {"statement_cache_size": 0} if settings.postgres_pooler else {}
    if address.tls is not None:
        keywords["ssl"] = address.tls
    return await asyncpg.connect(
        address.dsn,
        timeout=settings.postgres_connect_timeout,
        command_timeout=limit + GRACE_SECONDS if limit else None,
        server_settings=server,
        **keywords,
    )


class PostgresProbe:
    """One connection beside the pool that asks the server about itself."""

    store: StoreName = "postgres"

    def __init__(self, settings: Settings) -> None:
        url = settings.url("postgres")
        if url is None:
            raise ValueError("settings without postgres_url")
        self._settings = settings
        # Its place; it names a probe that looks at a replica.
        self.replica = url.place
        self.meaning = Meaning(url.place, settings)
        self.dsn = read_dsn(url.reveal(), tls=settings.postgres_tls, tls_ca=settings.postgres_tls_ca)
        self._connection: asyncpg.Connection | None = None

    async def look(self) -> Vital:
        """The server's version, role and connections, in one round trip."""
        connection, self._connection = self._connection, None
        try:
            if connection is None or connection.is_closed():
                connection = await connect(self._settings, self.dsn)
            row = await connection.fetchrow(_LIMITS)
        except BaseException as error:
            if connection is not None:
                connection.terminate()
            self._raise(error)
            raise
        self._connection = connection
        version, replica, limit, reserved, used = row
        return Vital(version, "replica" if replica else "primary", used, limit, reserved)

    async def source(self) -> str | None:
        """Whose count its transactions are by, or None where it does not say; asked of the connection in hand."""
        try:
            return None if self._connection is None else await source_of(self._connection)
        except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
            self._raise(error)
            raise

    def _raise(self, error: BaseException) -> None:
        if isinstance(error, Exception):
            meant = self.meaning.of(error, connecting=True, limit=self._settings.postgres_connect_timeout)
            if meant is not None:
                raise both(meant, error) from error

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
