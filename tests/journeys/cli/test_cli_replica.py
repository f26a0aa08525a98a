"""`tercet advise` on a standby, which only reads, and counts only what is read there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tercet.cli.main import MISUSED, run

if TYPE_CHECKING:
    from collections.abc import Iterator

DATABASE = "test_cli_replica"


@pytest.fixture(scope="module")
def replica(servers: Any, standby: Any) -> Iterator[str]:
    """The address of a database on the standby, once it has all that the primary has."""
    primary = servers.postgres.rpartition("/")[0] + f"/{DATABASE}"

    async def fill() -> str:
        await servers.administer(servers.postgres, f"create database {DATABASE}")
        connection = await asyncpg.connect(primary)
        await connection.execute("create table orders (id bigint primary key, user_id bigint)")
        await connection.execute("insert into orders select i, i % 5000 from generate_series(1, 50000) i")
        await connection.execute("vacuum analyze orders")
        place = await connection.fetchval("select pg_current_wal_flush_lsn()::text")
        await connection.close()
        other = await asyncpg.connect(standby.url(servers.postgres))
        while not await other.fetchval(f"select pg_last_wal_replay_lsn() >= '{place}'"):
            await asyncio.sleep(0.05)
        await other.close()
        return str(standby.url(primary))

    yield servers.run(fill())
    servers.run(servers.administer(servers.postgres, f"drop database {DATABASE} with (force)"))


def test_a_replica_is_advised_and_never_changed(
    replica: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it cannot know is said; what is built belongs on its primary, and so does the review."""
    monkeypatch.chdir(tmp_path)
    Path("q.sql").write_text("select * from orders where user_id = $1;")
    assert run(["advise", replica, "--query", "q.sql", "--quick"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "1 index public.orders (user_id)" in out
    assert "this is a replica: it counts only its own reads" in out
    assert "1 of 1 plans as in production" in out
    for asked, says in ((["--apply", "1"], "Ask its primary"), (["--review"], "give the primary's URL")):
        assert run(["advise", replica, *asked]) == MISUSED
        err = " ".join(capsys.readouterr().err.split())
        assert "This database is a replica." in err
        assert says in err
