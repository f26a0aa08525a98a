"""Logs as a real server writes them, in its three forms, read into the same workload."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tercet.advisor.workload.logs import from_log
from tercet.servers import Servers

_SETTINGS = (
    "logging_collector = on",
    "log_destination = 'stderr,csvlog,jsonlog'",
    "log_filename = 'pg.log'",
    "log_min_duration_statement = 0",
    "auto_explain.log_min_duration = 0",
)
_JSON_FROM = 15
_FORMS = ("pg.log", "pg.csv", "pg.json")


@pytest.fixture(scope="module")
def logs(servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the logs of a server that has had a day."""
    folder = tmp_path_factory.mktemp("logging")
    servers.run(_a_day(folder))
    return folder / "log"


async def _a_day(folder: Path) -> None:
    async with Servers(folder / "server", ("postgres",), durable=False, sources=("wheel",)) as addresses:
        connection = await asyncpg.connect(addresses.postgres)
        for setting in (*_SETTINGS, f"log_directory = '{folder}/log'"):
            known = connection.get_server_version().major >= _JSON_FROM
            await connection.execute(f"alter system set {setting if known else setting.replace(',jsonlog', '')}")
        await connection.execute("create table t (a int, b text)")
        await connection.execute("create database elsewhere")
        await connection.close()
    # The collector of logs is started with the server only.
    async with Servers(folder / "server", ("postgres",), durable=False, sources=("wheel",)) as addresses:
        url = str(addresses.postgres)
        await _asks(url)
        other = await asyncpg.connect(url.rpartition("/")[0] + "/elsewhere")
        await other.execute("create table u (x int)")
        await other.fetch("select x from u")
        await other.close()


async def _asks(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("select a,\n\tb from t\n\nwhere b = 'x;\n''LOG:  '")
    await connection.fetch("select count(*) from t where a = $1 and b = $2", 5, "it's\n")
    await connection.fetch("select count(*) from t where a = $1 and b = $2", None, "x")
    await connection.execute("prepare p as select max(a) from t where a = $1")
    await connection.execute("execute p(3)")
    await connection.execute("set auto_explain.log_format = json")
    await connection.fetch("select b from t where b = $1", "j")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await connection.execute("select nope from t")
    await connection.close()


@pytest.mark.parametrize("form", _FORMS)
def test_each_form_tells_the_same_statements_with_their_values(logs: Path, form: str) -> None:
    """Many lines, quotes, parameters, a prepared statement; a run that two entries tell counts once."""
    if not (logs / form).is_file():
        pytest.skip("this server (before 15) writes no such log")
    workload = from_log([logs / form], share=1.0)
    found = {query.sql: query for query in workload.queries if "from t" in query.sql.replace("FROM", "from")}
    calls = {sql: query.calls for sql, query in found.items()}
    assert calls == {
        "select a,\n\tb from t\n\nwhere b = 'x;\n''LOG:  '": 1,
        "select count(*) from t where a = '5' and b = 'it''s\n'": 2,
        "SELECT max(a) FROM t WHERE a = '3'": 1,
        "select b from t where b = 'j'": 1,
    }
    assert all(query.ms is not None and query.ms > 0 for query in found.values())
    texts = {one.sql for query in found.values() for one in query.examples}
    assert "select count(*) from t where a = null and b = 'x'" in texts
    assert workload.skipped == ()
    assert workload.seconds is not None


def test_the_statements_of_another_database_are_left_out(logs: Path) -> None:
    """Where the log tells whose they are."""
    for form in (one for one in ("pg.csv", "pg.json") if (logs / one).is_file()):
        workload = from_log([logs / form], database="elsewhere", share=1.0)
        assert [query.sql for query in workload.queries] == ["select x from u"]


def test_packed_and_cut_files_are_read_as_far_as_they_go(logs: Path, tmp_path: Path) -> None:
    """A rotated log is packed; one that is cut gives what is before the cut, and says so."""
    whole = (logs / "pg.log").read_bytes()
    packed = gzip.compress(whole)
    (tmp_path / "a.log.gz").write_bytes(packed)
    assert from_log([tmp_path / "a.log.gz"]).queries == from_log([logs / "pg.log"]).queries
    (tmp_path / "a.log.gz").write_bytes(packed[: len(packed) * 3 // 4])
    cut = from_log([tmp_path], share=1.0)
    assert cut.queries
    assert any("end in the middle" in one.why for one in cut.skipped)
