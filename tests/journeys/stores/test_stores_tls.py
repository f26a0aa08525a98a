"""PostgreSQL over TLS, on a server that can speak it: the wheels' cannot, a distribution's can."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.errors import LoginRefused
from tercet.servers import Servers

PROGRAMS = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]

pytestmark = [
    pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL with TLS is installed on this machine"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with"),
]


def _authority(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate authority's key and certificate."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return key, certificate


def _signed(folder: Path, authority: tuple[Path, Path], host: str) -> tuple[Path, Path]:
    """A server's key and certificate for this host name, signed by the authority."""
    key, asked, certificate = folder / "server.key", folder / "server.csr", folder / "server.crt"
    names = folder / "names.ext"
    names.write_text(f"subjectAltName=DNS:{host}")
    asking = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}", "-keyout", str(key)]
    subprocess.run([*asking, "-out", str(asked)], check=True, capture_output=True)
    signing = ["openssl", "x509", "-req", "-in", str(asked), "-CA", str(authority[1]), "-CAkey", str(authority[0])]
    signing += ["-CAcreateserial", "-days", "2", "-extfile", str(names), "-out", str(certificate)]
    subprocess.run(signing, check=True, capture_output=True)
    key.chmod(0o600)
    return key, certificate


@pytest_asyncio.fixture
async def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A server whose certificate is for "localhost", by its number: which that certificate is not for."""
    monkeypatch.setenv("TERCET_PG_HOME", str(PROGRAMS[-1]))
    folder = tmp_path / ".tercet"
    async with Servers(folder, ("postgres",), sources=("path",)):
        pass
    key, certificate = _signed(tmp_path, _authority(tmp_path, "ours"), "localhost")
    (settings,) = folder.rglob("postgresql.conf")
    with settings.open("a") as file:
        file.write(f"\nssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n")
    async with Servers(folder, ("postgres",), sources=("path",)) as addresses:
        assert addresses.postgres is not None
        yield addresses.postgres


async def _encrypted(db: Tercet) -> bool:
    async with db.postgres.connection() as connection:
        rows = await connection.exec_driver_sql("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        return bool(rows.scalar_one())


async def test_each_mode_encrypts_and_verifies_what_it_says(address: str, tmp_path: Path) -> None:
    """As libpq names them: from no encryption up to a certificate of a trusted authority for this very host."""
    named = address.replace("127.0.0.1", "localhost")
    ours, other = str(tmp_path / "ours.crt"), str(_authority(tmp_path, "other")[1])
    async with Tercet(postgres=address, postgres_tls="disable") as db:
        assert not await _encrypted(db)
    async with Tercet(postgres=address, postgres_tls="require") as db:
        assert await _encrypted(db)
    async with Tercet(postgres=address, postgres_tls="verify-ca", postgres_tls_ca=ours) as db:
        assert await _encrypted(db)
    async with Tercet(postgres=named, postgres_tls="verify-full", postgres_tls_ca=ours) as db:
        assert await _encrypted(db)
    async with Tercet(postgres=f"{named}?sslmode=verify-full&sslrootcert={ours}") as db:
        assert await _encrypted(db)
    for wrong in (
        Tercet(postgres=address, postgres_tls="verify-full", postgres_tls_ca=ours),
        Tercet(postgres=named, postgres_tls="verify-ca", postgres_tls_ca=other),
        Tercet(postgres=named, postgres_tls="verify-full"),
    ):
        with pytest.raises(LoginRefused, match="its certificate is not trusted"):
            await wrong.open()
