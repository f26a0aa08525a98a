"""PostgreSQL's address as people write it, made into what asyncpg understands."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

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


def read(text: str, *, tls: str | None, tls_ca: str | None) -> Dsn:
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
