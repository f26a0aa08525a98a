"""A feed over TLS with a password, on a server that can speak it: the wheel's cannot, a distribution's can."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tercet.changes import Changes
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.errors import LoginRefused
from tercet.servers import Servers
from tercet.settings import Settings
from tercet.telemetry import Telemetry

PROGRAMS = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
# Made anew each time, and for nothing but this test.
PASSWORD = "p@ss w%rd/"

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with"),
    pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL with TLS is installed on this machine"),
]


@pytest.fixture
async def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A server that lets in `reader`, over TLS, with a password that is checked by SCRAM, and nobody else."""
    monkeypatch.setenv("TERCET_PG_HOME", str(PROGRAMS[-1]))
    folder = tmp_path / ".tercet"
    key, certificate = tmp_path / "server.key", tmp_path / "server.crt"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    key.chmod(0o600)
    async with Servers(folder, ("postgres",), sources=("path",)) as addresses:
        sql = await asyncpg.connect(addresses.postgres)
        await sql.execute("create table t (id int primary key); create publication tercet for table t")
        await sql.execute("set password_encryption = 'scram-sha-256'")
        await sql.execute(f"create role reader login replication password '{PASSWORD}'")
        await sql.close()
    (settings,) = folder.rglob("postgresql.conf")
    with settings.open("a") as file:
        file.write(f"\nssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n")
    (rules,) = folder.rglob("pg_hba.conf")
    rules.write_text("host all postgres 127.0.0.1/32 trust\nhostssl all reader 127.0.0.1/32 scram-sha-256\n")
    async with Servers(folder, ("postgres",), sources=("path",)) as addresses:
        assert addresses.postgres is not None
        yield addresses.postgres


def _changes(address: str, **settings: Any) -> Changes:
    return postgres_changes(
        Settings.read({"postgres": address, **settings}, environ={}), clock=SystemClock(), telemetry=Telemetry()
    )


async def test_a_feed_is_read_over_tls_with_a_password(
    address: str, tmp_path: Path, heard: Callable[..., Any], until: Callable[[Callable[[], object]], Any]
) -> None:
    """Encrypted and verified as the settings say, on both of its connections; what is wrong is told apart."""
    named = address.replace("postgres@127.0.0.1", "reader:p%40ss%20w%25rd%2F@localhost")
    listener = heard("t")
    changes = _changes(named, postgres_tls="verify-full", postgres_tls_ca=str(tmp_path / "server.crt"))
    try:
        await changes.subscribe(listener).ready()
        sql = await asyncpg.connect(address)
        try:
            await sql.execute("insert into t values (1)")
            rows = await sql.fetch(
                "select backend_type, ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = $1",
                "reader",
            )
        finally:
            await sql.close()
        assert sorted(map(tuple, rows)) == [("client backend", True), ("walsender", True)]
        await until(lambda: listener.ids == [1])
    finally:
        await changes.close()
    # Neither the password nor the address is in a sentence.
    secret = address.replace("postgres@127.0.0.1", "reader:hunter2@localhost")
    for settings, reason in (
        ({"postgres_tls": "require"}, "does not accept this login"),
        ({"postgres_tls": "verify-full"}, "certificate is not trusted"),
        ({"postgres_tls": "disable"}, "does not accept this login from here"),
    ):
        changes = _changes(secret, **settings)
        try:
            with pytest.raises(LoginRefused, match=reason) as refused:
                await changes.subscribe(heard("t")).ready()
            assert "hunter2" not in str(refused.value)
        finally:
            await changes.close()
