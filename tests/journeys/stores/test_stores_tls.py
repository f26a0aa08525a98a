"""PostgreSQL and Redis over TLS, on servers that can speak it: the wheels' cannot, a distribution's can."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.errors import LoginRefused, StoreUnreachable
from tercet.servers import Servers

PROGRAMS = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]

REDIS = shutil.which("redis-server")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")


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


@pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL with TLS is installed on this machine")
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


@pytest_asyncio.fixture
async def redis_port(tmp_path: Path) -> AsyncIterator[int]:
    """A Redis that listens for TLS only, with a certificate for "localhost"."""
    key, certificate = _signed(tmp_path, _authority(tmp_path, "ours"), "localhost")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(REDIS), "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    command += ["--tls-ca-cert-file", str(tmp_path / "ours.crt"), "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(1000):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
                break
            if process.poll() is not None:
                pytest.skip("this redis-server was built without TLS")
            await asyncio.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(REDIS is None, reason="no redis-server is installed on this machine")
async def test_redis_is_reached_by_rediss_and_only_with_a_certificate_for_its_name(
    redis_port: int, tmp_path: Path
) -> None:
    """The authority is the one that is set; another one's certificate, or another name, ends in one sentence."""
    ours, other = str(tmp_path / "ours.crt"), str(_authority(tmp_path, "other")[1])
    async with Tercet(redis=f"rediss://localhost:{redis_port}", redis_tls_ca=ours) as db:
        assert await db.redis.incr("orders") == 1
        assert (await db.health()).status == "pass"
    for wrong in (
        Tercet(redis=f"rediss://localhost:{redis_port}", redis_tls_ca=other),
        Tercet(redis=f"rediss://127.0.0.1:{redis_port}", redis_tls_ca=ours),
    ):
        with pytest.raises(LoginRefused, match=r"its certificate is not trusted, .* \(redis_tls_ca\)"):
            await wrong.open()
    with pytest.raises(StoreUnreachable):
        await Tercet(redis=f"redis://localhost:{redis_port}").open()
