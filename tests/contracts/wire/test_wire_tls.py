"""The wire through TLS: encrypted and verified as redis-py's client was told, and no less."""

from __future__ import annotations

import asyncio
import random
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from tercet.clock import SystemClock
from tercet.errors import LoginRefused
from tercet.telemetry import Telemetry
from tercet.wire import Wire

PATIENCE = 30.0

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest_asyncio.fixture
async def address(redis_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """A server that takes the encryption off before Redis, with a certificate for "localhost"."""
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*made, "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"], check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(cast("asyncio.Task[None]", asyncio.current_task()))
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield f"rediss://localhost:{server.sockets[0].getsockname()[1]}/0"
    server.close()
    # The handlers end when both sides have.
    await asyncio.gather(*serving, return_exceptions=True)


def _wire(url: str) -> Wire:
    return Wire.at(url, deadline=PATIENCE, clock=SystemClock(), telemetry=Telemetry())


async def test_commands_and_messages_go_through_tls(address: str, tmp_path: Path) -> None:
    """Big values too, which come in many records."""
    wire = _wire(f"{address}?ssl_ca_certs={tmp_path / 'cert.pem'}")
    big = random.Random(3).randbytes(1_000_000)
    heard: list[bytes | None] = []
    await wire.listen(b"news", heard.append)
    assert await wire.call("SET", "big", big) == b"OK"
    read, _, echoed = await asyncio.gather(wire.get(b"big"), wire.call("PUBLISH", "news", "1"), wire.call("ECHO", "2"))
    assert (sha256(read or b"").digest(), echoed, heard) == (sha256(big).digest(), b"2", [b"1"])
    await wire.close()


async def test_a_certificate_that_is_not_trusted_is_told_as_one(address: str) -> None:
    """Waiting does not help, so it is not an unreachable server."""
    wire = _wire(address)
    with pytest.raises(LoginRefused, match="certificate is not trusted"):
        await wire.get(b"a")
    await wire.close()
