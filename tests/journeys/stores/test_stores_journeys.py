"""The stores as a program uses them: limits, transactions, a pooler, servers of its own, tercet health."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import redis.exceptions
import sqlalchemy.exc
from sqlalchemy import text

from tercet.errors import DeadlinePassed, LoginRefused, SettingInvalid, StoreMissing, UsageError
from tercet.stores import Health
from tercet.tercet import Tercet

if TYPE_CHECKING:
    from pathlib import Path


async def shown(db: Tercet, setting: str) -> str:
    """A setting of PostgreSQL as the next caller finds it."""
    async with db.postgres.connection() as connection:
        return str((await connection.execute(text(f"SHOW {setting}"))).scalar_one())


async def test_limits_hold_for_each_statement_and_longer_work_asks_for_more(postgres_url: str) -> None:
    """The server's limit and the client's are set together, for one block, and are back afterwards."""
    async with Tercet(postgres=postgres_url, postgres_statement_timeout="200ms", application_name="lim") as db:
        assert (await shown(db, "statement_timeout"), await shown(db, "application_name")) == ("200ms", "lim")
        with pytest.raises(DeadlinePassed, match=r"postgres did not finish a statement within 200 ms\.") as caught:
            async with db.postgres.transaction() as connection:
                await connection.execute(text("SELECT pg_sleep(5)"))
        assert issubclass(type(caught.value), sqlalchemy.exc.DBAPIError)
        sleep = text("SELECT pg_sleep(0.4), current_setting('statement_timeout')")
        async with db.postgres.transaction(within="10m") as connection:
            assert (await connection.execute(sleep)).one()[1] == "10min"
        async with db.postgres.session(within=20) as session, session.begin():
            assert (await session.execute(sleep)).one()[1] == "20s"
        async with db.postgres.autocommit() as connection:
            assert (await connection.execute(sleep)).one()[1] == "0"
        assert await shown(db, "statement_timeout") == "200ms"
        assert db.pools()[0].idle == 1


async def test_a_transaction_commits_at_its_end_and_rolls_back_when_it_raises(postgres_url: str) -> None:
    """What a block leaves behind is all of it or nothing."""
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.transaction() as connection:
            await connection.execute(text("CREATE TABLE t (n int PRIMARY KEY)"))
            await connection.execute(text("INSERT INTO t VALUES (1)"))
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            async with db.postgres.transaction() as connection:
                await connection.execute(text("INSERT INTO t VALUES (2), (1)"))
        async with db.postgres.autocommit() as connection:
            await connection.execute(text("CREATE INDEX CONCURRENTLY i ON t (n)"))
        async with db.postgres.session() as session:
            assert (await session.execute(text("SELECT array_agg(n) FROM t"))).scalar_one() == [1]


async def test_behind_a_pooler_nothing_is_left_on_the_session(postgres_url: str) -> None:
    """No parameter at the start that PgBouncer would refuse, and no statement under a name of asyncpg's."""
    async with Tercet(postgres=postgres_url, postgres_pooler=True, postgres_pool_size=1) as db:
        assert await shown(db, "statement_timeout") == "0"
        for _ in range(3):
            async with db.postgres.transaction(within="3s") as connection:
                await connection.execute(text("SELECT 1"))
                names = (await connection.execute(text("SELECT name FROM pg_prepared_statements"))).scalars().all()
                assert [name for name in names if not name.startswith("tercet_")] == []
        assert await shown(db, "statement_timeout") == "0"


async def test_what_the_server_refuses_at_the_door_is_said(postgres_url: str) -> None:
    """A database that is not there and encryption it does not speak are no outage."""
    base = postgres_url.rpartition("/")[0]
    with pytest.raises(LoginRefused, match="does not let us in: the database does not exist"):
        await Tercet(postgres=f"{base}/nowhere").open()
    with pytest.raises(LoginRefused, match="do not agree on encryption"):
        await Tercet(postgres=postgres_url, postgres_tls="require").open()


async def test_a_wrong_password_of_redis_is_no_outage(redis_url: str) -> None:
    """LoginRefused without the password; what led to it is a chain with an end."""
    wrong = redis_url.replace("://", "://somebody:hunter2secret@")
    with pytest.raises(LoginRefused, match=r"redis at .* does not let us in: it does not accept this login") as caught:
        await Tercet(redis=wrong).open()
    assert issubclass(type(caught.value), redis.exceptions.RedisError)
    seen: list[BaseException] = []
    error: BaseException | None = caught.value
    while error is not None:
        assert error not in seen
        assert "hunter2secret" not in str(error)
        seen.append(error)
        error = error.__cause__
    assert len(seen) > 1


async def test_a_mongo_address_without_a_database_is_refused_with_what_would_be_right(servers: Any) -> None:
    """The database has to be named somewhere, and the address is the place."""
    with pytest.raises(SettingInvalid, match="an address with a database: mongodb://host/shop"):
        await Tercet(mongo="mongodb://127.0.0.1:1").open()


async def test_mongo_dates_have_their_zone(mongo_url: str) -> None:
    """What goes in with a zone comes out with one."""
    from datetime import UTC, datetime

    moment = datetime(2024, 5, 1, 12, tzinfo=UTC)
    async with Tercet(mongo=mongo_url) as db:
        await db.mongo["one"].insert_one({"at": moment})
        found = await db.mongo["one"].find_one({})
        assert found is not None
        assert found["at"] == moment


async def test_no_store_at_all_is_refused() -> None:
    """An empty Tercet helps nobody."""
    with pytest.raises(UsageError, match="was given no store"):
        await Tercet.of(settings()).open()


def settings(**words: object) -> Any:
    """Settings out of these words alone."""
    from pathlib import Path as Folder

    from tercet.settings import Settings

    return Settings.read(words, environ={}, folder=Folder("/nonexistent"))


async def test_a_local_one_brings_its_servers_and_takes_them_along(tmp_path: Path, redis_url: str) -> None:
    """A server of its own for what has no address, the given one for what has; nothing runs afterwards."""
    from tercet.servers import status

    db = Tercet.local(tmp_path, stores=("redis", "postgres"), redis_url=redis_url)
    async with db:
        assert db.settings.stores == ("postgres", "redis")
        assert int(await shown(db, "server_version_num")) >= 140000
        assert str(db.settings.url("redis")) == redis_url
        assert [one.status for one in (await db.health()).stores] == ["pass", "pass"]
        with pytest.raises(StoreMissing):
            _ = db.mongo
    assert [one.state for one in await status(tmp_path) if one.state == "running"] == []


def health_command(folder: Path, environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`tercet health` as a probe runs it."""
    import os

    clean = {name: value for name, value in os.environ.items() if not name.startswith("TERCET_")}
    path = os.pathsep.join(one for one in sys.path if one)
    command = [
        sys.executable,
        "-c",
        "import sys; from tercet.cli.main import main; sys.exit(main())",
        "health",
    ]
    return subprocess.run(
        [*command, *arguments],
        env={**clean, "PYTHONPATH": path, **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


async def test_the_health_command_answers_people_and_programs(
    tmp_path: Path, postgres_url: str, mongo_url: str, redis_url: str
) -> None:
    """Exit code 0 while all is well and 1 when a critical store is away, without a secret in either form."""
    urls = {"TERCET_POSTGRES_URL": postgres_url, "TERCET_MONGO_URL": mongo_url, "TERCET_REDIS_URL": redis_url}
    well = await asyncio.to_thread(health_command, tmp_path, urls, "--json")
    assert (well.returncode, json.loads(well.stdout)["status"]) == (0, "pass")
    away = urls | {"TERCET_REDIS_URL": "redis://u:hunter2secret@127.0.0.1:1"}
    ill = await asyncio.to_thread(health_command, tmp_path, away)
    assert (ill.returncode, "nobody answers" in ill.stdout) == (1, True)
    minor = await asyncio.to_thread(health_command, tmp_path, away | {"TERCET_REDIS_CRITICAL": "no"}, "--json")
    assert (minor.returncode, json.loads(minor.stdout)["status"]) == (0, "warn")
    none = await asyncio.to_thread(health_command, tmp_path, {})
    assert (none.returncode, "There is no store to ask." in none.stderr) == (2, True)
    assert "hunter2secret" not in ill.stdout + ill.stderr + minor.stdout + minor.stderr


async def test_liveness_asks_no_store_and_readiness_does(redis_url: str) -> None:
    """Alive before it opens, ready when it has."""
    db = Tercet(redis=redis_url)
    assert (db.liveness().status, db.liveness().open) == ("pass", False)
    async with db:
        assert (db.liveness().open, (await db.readiness()).ready) == (True, True)
        assert isinstance(await db.health(), Health)


def test_importing_tercet_and_a_tercet_with_one_store_loads_no_other_driver() -> None:
    """Drivers of stores that are not used are never imported."""
    code = (
        "import sys, tercet; tercet.Tercet(redis='redis://h');"
        "from tercet.stores import edges; edges.store('redis', tercet.Settings.read({'redis': 'redis://h'}),"
        "clock=__import__('tercet.clock').clock.SystemClock(), telemetry=tercet.Telemetry());"
        "print(sorted({'sqlalchemy', 'asyncpg', 'pymongo', 'redis', 'click', 'rich'} & set(sys.modules)))"
    )
    import os

    environ = {"PYTHONPATH": os.pathsep.join(one for one in sys.path if one), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.strip() == "['redis']"
