"""The address as libpq wants it: what the settings tell asyncpg, told to libpq."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from tercet.errors import ExtraMissing, FeedRefused, StoreMissing

try:
    from psycopg import pq
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
except ImportError as error:
    raise ExtraMissing("The change feed of PostgreSQL", module="psycopg", extra="changes") from error

if TYPE_CHECKING:
    from tercet.settings import Settings

# Words of asyncpg and SQLAlchemy in addresses that were written for them; a server would refuse them as settings.
_THEIRS = frozenset(
    {
        "async_fallback", "command_timeout", "direct_tls", "max_cached_statement_lifetime",
        "max_cacheable_statement_size", "prepared_statement_cache_size", "prepared_statement_name_func",
        "record_class", "server_settings", "statement_cache_size", "timeout",
    }
)  # fmt: skip
# Dead peers are found after 60 s + 3 × 10 s, on both sides: what the server holds for us must not outlive us for long.
_KEEPALIVE = {"keepalives_idle": "60", "keepalives_interval": "10", "keepalives_count": "3"}
_SERVER = {"tcp_keepalives_idle": "60", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
_VERIFYING = frozenset({"verify-ca", "verify-full"})


def read_conninfo(settings: Settings) -> str:
    """libpq's own form of the address in the settings, with its password: not to be shown.

    What the address says of libpq's own parameters holds (service, several hosts, passfile); `postgres_tls` and
    `postgres_tls_ca` win over it. Words that libpq does not know are settings of the server, as they are to asyncpg.
    """
    url = settings.url("postgres")
    if url is None:
        raise StoreMissing("postgres", feature="The change feed of PostgreSQL")
    if settings.postgres_pooler:
        raise FeedRefused(
            "postgres",
            reason="postgres_pooler is set, and a pooler carries neither replication nor a lock that lasts",
            mend="Hand the feed settings with a direct address of the server, without postgres_pooler.",
        )
    parts = urlsplit(url.reveal())
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    words: dict[str, str] = {}
    server = dict(_SERVER)
    for word, value in parse_qsl(parts.query):
        if word == "ssl":
            words["sslmode"] = value
        elif word in known:
            words[word] = value
        elif word not in _THEIRS:
            server[word] = value
    words = _KEEPALIVE | words | _encrypted(settings, words)
    words.setdefault("application_name", settings.application_name)
    words["options"] = " ".join(filter(None, (words.get("options"), *_flags(server))))
    if "," in parts.netloc or "," in words.get("host", ""):
        # Of several, only the primary has slots that outlive a failover, and takes what is written.
        words.setdefault("target_session_attrs", "primary")
    plain = urlunsplit(("postgresql", parts.netloc, parts.path, "", ""))
    if not parts.netloc and "://" not in plain:
        # urlunsplit drops the slashes of an address without a host: postgresql:///shop?host=/run/postgresql
        plain = plain.replace("postgresql:", "postgresql://", 1)
    conninfo = f"{plain}?{urlencode(words, quote_via=quote)}"
    return make_conninfo("", **{word: value for word, value in conninfo_to_dict(conninfo).items() if value is not None})


def _encrypted(settings: Settings, words: dict[str, str]) -> dict[str, str]:
    """How the connection is to be encrypted; without an authority named anywhere, the machine's own list is used."""
    told = {"sslmode": settings.postgres_tls, "sslrootcert": settings.postgres_tls_ca}
    wanted = {word: value for word, value in told.items() if value}
    mode = wanted.get("sslmode", words.get("sslmode"))
    if mode in _VERIFYING and wanted.get("sslrootcert", words.get("sslrootcert", "system")) == "system":
        # libpq's own "system" means the list that its OpenSSL was built with, which in a wheel is on no machine.
        machine = ssl.get_default_verify_paths().cafile
        wanted["sslrootcert"] = machine or "system"
    return wanted


def _flags(server: dict[str, str]) -> list[str]:
    """The server's settings as its command line has them; blanks and backslashes are escaped there by a backslash."""
    return [f"-c {name}=" + value.replace("\\", "\\\\").replace(" ", "\\ ") for name, value in server.items()]
