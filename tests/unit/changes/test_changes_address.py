"""What libpq is told of the address in the settings."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from tercet.changes.stream.postgres_address import read_conninfo
from tercet.errors import FeedRefused, StoreMissing
from tercet.settings import Settings


def read(url: str, **more: Any) -> dict[str, Any]:
    """The words that libpq is told."""
    return conninfo_to_dict(read_conninfo(Settings.read({"postgres": url, **more}, environ={})))


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_an_address_is_told_to_libpq_whatever_it_was_written_for(scheme: str) -> None:
    """User, password, host, port and database; what only asyncpg and SQLAlchemy know is left out."""
    words = read(
        f"{scheme}://shop:p%40ss%20w@db.internal:6432/shop%20two?prepared_statement_cache_size=0&async_fallback=1"
    )
    told = {name: words[name] for name in ("user", "password", "host", "port", "dbname", "application_name")}
    assert told == {
        "user": "shop", "password": "p@ss w", "host": "db.internal", "port": "6432", "dbname": "shop two",
        "application_name": "tercet",
    }  # fmt: skip
    assert "target_session_attrs" not in words


def test_what_libpq_does_not_know_is_a_setting_of_the_server() -> None:
    """As it is to asyncpg; blanks and backslashes come through, and so do options that were there."""
    words = read(r"postgresql://db/shop?search_path=a%20b\c&options=-c%20geqo%3Doff&application_name=mine")
    assert words["options"].startswith("-c geqo=off ")
    assert words["options"].endswith(r"-c search_path=a\ b\\c")
    assert words["application_name"] == "mine"


def test_a_socket_and_a_service_need_no_host() -> None:
    """Both are libpq's own."""
    assert read("postgresql:///shop?host=/run/postgresql")["host"] == "/run/postgresql"
    assert read("postgresql://?service=shop")["service"] == "shop"


def test_of_several_hosts_the_primary_is_read() -> None:
    """Unless the address says otherwise."""
    hosts = "postgresql://one:1,two:2/shop"
    assert read(hosts)["target_session_attrs"] == "primary"
    assert (read(hosts)["host"], read(hosts)["port"]) == ("one,two", "1,2")
    assert read(f"{hosts}?target_session_attrs=any")["target_session_attrs"] == "any"


def test_encryption_is_what_the_settings_say(tmp_path: Any) -> None:
    """They win over the address; to verify without an authority is to trust the machine's own list."""
    assert read("postgresql://db/shop?ssl=require")["sslmode"] == "require"
    words = read("postgresql://db/shop?sslmode=disable", postgres_tls="verify-full", postgres_tls_ca="/ca.pem")
    assert (words["sslmode"], words["sslrootcert"]) == ("verify-full", "/ca.pem")
    assert read("postgresql://db/shop", postgres_tls="verify-ca")["sslrootcert"]
    assert "sslrootcert" not in read("postgresql://db/shop", postgres_tls="require")
    assert read("postgresql://db/shop?sslmode=verify-ca&sslrootcert=/mine.pem")["sslrootcert"] == "/mine.pem"


def test_a_pooler_is_refused_with_a_way_out() -> None:
    """It would take the lock away from whoever leads, without a word."""
    with pytest.raises(FeedRefused, match="direct address"):
        read("postgresql://db/shop", postgres_pooler=True)


def test_without_an_address_the_error_says_what_is_missing() -> None:
    """And how to give it."""
    with pytest.raises(StoreMissing, match="TERCET_POSTGRES_URL"):
        read_conninfo(Settings.read({}, environ={}))
