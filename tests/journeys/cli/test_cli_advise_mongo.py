"""`tercet advise mongodb://…`: asked, applied, said; on a real database."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from tercet.cli.main import FAILED, MISUSED, run


def _indexes(url: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with AsyncMongoClient[dict[str, Any]](url) as client:
            return dict(await client.get_default_database().orders.index_information())

    return asyncio.run(ask())


def _fill(url: str) -> None:
    async def fill() -> None:
        async with AsyncMongoClient[dict[str, Any]](url) as client:
            orders = client.get_default_database().orders
            await orders.insert_many([{"status": "done" if n % 10 else "open", "n": n} for n in range(1_000)])

    asyncio.run(fill())


def _asked(url: str, status: str) -> None:
    Path("asked.json").write_text(json.dumps({"find": "orders", "filter": {"status": status}}))
    assert run(["advise", url, "--pipeline", "asked.json", "--verify", "off"]) == 0


def test_advice_is_applied_by_its_number_and_judged_by_what_was_asked(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was only reasoned is kept where it helps; where the command reads more by it, it is taken away and said."""
    monkeypatch.chdir(tmp_path)
    _fill(mongo_url)
    _asked(mongo_url, "open")
    capsys.readouterr()
    assert run(["advise", mongo_url, "--apply", "1"]) == 0
    assert capsys.readouterr().out.strip() == "1  status_1 is there"
    assert _indexes(mongo_url)["status_1"] == {"v": 2, "key": [("status", 1)]}
    asyncio.run(_drop(mongo_url))
    _asked(mongo_url, "done")
    capsys.readouterr()
    assert run(["advise", mongo_url, "--apply", "1"]) == FAILED
    told = capsys.readouterr().out.strip()
    assert told == "1  status_1 was taken away again: 1,000 → 1,800 keys and documents read"
    assert set(_indexes(mongo_url)) == {"_id_"}


async def _drop(url: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        await client.get_default_database().orders.drop_index("status_1")


def test_advice_is_for_one_database_only(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another one is refused before anything is done; so is a command that names none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TERCET_MONGO_URL", raising=False)
    _fill(mongo_url)
    _asked(mongo_url, "open")
    other = mongo_url.replace("?", "_other?", 1)
    assert run(["advise", other, "--apply", "1"]) == MISUSED
    assert run(["advise", "--apply", "1"]) == MISUSED
    told = capsys.readouterr().err
    assert "_other" in told
    assert "There is no MongoDB to ask." in told
    assert "tercet up --only mongo" in told
    assert set(_indexes(mongo_url)) == {"_id_"}
