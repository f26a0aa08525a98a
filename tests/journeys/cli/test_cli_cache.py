"""`tercet cache explain` and `tercet cache stats`, as a person types them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tercet.cache import Cache
from tercet.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

DEADLINE = "10s"


@pytest.fixture(autouse=True)
def _here(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings name the Redis; no file of another folder does."""
    monkeypatch.setenv("TERCET_REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)


def _with_cache(
    url: str, work: Callable[[Cache], Coroutine[object, object, object]], namespace: str = "tercet"
) -> None:
    async def main() -> None:
        async with Cache(url, stale="1h", namespace=namespace, deadline=DEADLINE) as cache:
            await work(cache)

    asyncio.run(main())


async def _fill(cache: Cache) -> None:
    await cache.set("rates:eur", {"usd": 1.08}, tags=["rates", "currency:eur"])
    await cache.set("rates:krw", "won " * 3_000)


def test_an_entry_is_explained(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its tier, its times, its size, each tag, and that nobody loads it."""
    _with_cache(redis_url, _fill)
    assert run(["cache", "explain", "rates:eur"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if "tag " not in line)
    assert lines["key"] == "rates:eur"
    assert lines["tier"] == "redis"
    assert lines["state"].startswith("fresh for another ")
    assert "then shown as stale for 1 h" in lines["state"]
    assert lines["loading"] == "nobody"
    assert run(["cache", "explain", "rates:krw"]) == 0
    assert "packed by z" in capsys.readouterr().out


def test_a_dropped_tag_is_told_apart(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The entry still lies there, and is shown to nobody."""

    async def work(cache: Cache) -> None:
        await _fill(cache)
        await cache.drop_tags("rates")

    _with_cache(redis_url, work)
    assert run(["cache", "explain", "rates:eur"]) == 0
    shown = capsys.readouterr().out
    assert "dropped: it is shown to nobody" in shown
    assert "rates         dropped since" in shown
    assert "currency:eur  as when it was loaded" in shown


def test_an_unknown_key_is_exit_code_1_with_similar_ones(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For people and for programs, on the standard output."""
    _with_cache(redis_url, _fill)
    assert run(["cache", "explain", "rate:eur"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "Nothing is known of 'rate:eur' under the namespace 'tercet'.",
        "Similar: rates:eur, rates:krw",
    ]
    assert run(["cache", "explain", "rate:eur", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["copies"], told["similar"]) == ([], ["rates:eur", "rates:krw"])
    assert run(["cache", "explain", "rates:eur", "--namespace", "other"]) == 1


def test_a_known_key_as_json(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that is told to people, as values."""
    _with_cache(redis_url, _fill)
    assert run(["cache", "explain", "rates:eur", "--json"]) == 0
    (copy,) = json.loads(capsys.readouterr().out)["copies"]
    assert (copy["tier"], copy["state"], copy["tags"]) == ("redis", "fresh", ["rates", "currency:eur"])


def test_stats_say_what_lies_there_and_how_processes_do(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Names, the last drop, and this process as it has told of itself."""

    async def work(cache: Cache) -> None:
        await _fill(cache)
        await cache.drop_tags("rates")
        await cache.set("other\x1b[31m:1", 1)

    _with_cache(redis_url, work)
    assert run(["cache", "stats"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("3 entries, about ")
    assert "0 loads under way" in shown
    assert "2  " in next(line for line in shown.splitlines() if line.endswith("rates:*"))
    assert "\x1b" not in shown
    assert run(["cache", "stats", "--json", "--all"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["entries"], told["cut"], told["messages"] > 0) == (3, False, True)
    assert [one["figures"]["loads"] for one in told["processes"]] == [0]


def test_stats_of_nothing_are_noughts(capsys: pytest.CaptureFixture[str]) -> None:
    """A namespace that nobody uses is no error."""
    assert run(["cache", "stats", "--namespace", "nobody"]) == 0
    assert capsys.readouterr().out == (
        "0 entries, about 0 B; 0 tags; 0 loads under way\nbus: 0 messages kept; no drop among the last\n"
    )


def test_a_redis_that_is_not_there_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, without a secret of its address."""
    assert run(["cache", "stats", "--redis", "redis://:hunter2@127.0.0.1:1/0"]) == 1
    shown = capsys.readouterr()
    assert "does not answer" in shown.err
    assert "hunter2" not in shown.err


def test_what_is_meant_otherwise_is_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Redis named at all, and a namespace that cannot be one."""
    assert run(["cache", "stats", "--namespace", "no such"]) == 2
    monkeypatch.delenv("TERCET_REDIS_URL")
    assert run(["cache", "explain", "k"]) == 2
    assert "tercet up --only redis" in capsys.readouterr().err
