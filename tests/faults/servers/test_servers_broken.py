"""Programs that do not run, end at once, or never answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tercet.errors import ServerFailed, ServerMissing
from tercet.servers import Servers, status

if TYPE_CHECKING:
    from pathlib import Path


def _program(folder: Path, name: str, *, version: str, then: str) -> Path:
    """A program that answers the question for its version, and else does something."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit; fi\n{then}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def redis_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is named as the one with Redis' program."""
    monkeypatch.setenv("TERCET_VALKEY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


async def test_a_server_that_ends_at_once_is_quoted(tmp_path: Path, redis_home: Path) -> None:
    """The error has its exit code, its last lines and where the rest is."""
    _program(
        redis_home,
        "redis-server",
        version="Redis server v=7.2.4 sha=0",
        then="echo my disk is on fire; exit 3",
    )
    folder = tmp_path / ".tercet"
    with pytest.raises(ServerFailed) as caught:
        await Servers(folder, ("redis",)).start()
    assert caught.value.reason == "it ended with exit code 3"
    assert caught.value.log == "my disk is on fire"
    assert caught.value.log_path == str(folder / "redis.log")
    with pytest.raises(ServerFailed):
        await Servers(folder, ("redis",)).start()
    assert (folder / "redis.log.1").read_text() == "my disk is on fire\n"


async def test_a_full_disk_is_named_as_what_to_mend(tmp_path: Path, redis_home: Path) -> None:
    """The server's own words say why, and the error says what to do."""
    words = "Fatal error: can't open the append-only file: No space left on device"
    _program(redis_home, "redis-server", version="Redis server v=7.2.4", then=f'echo "{words}"; exit 1')
    with pytest.raises(ServerFailed) as caught:
        await Servers(tmp_path / ".tercet", ("redis",)).start()
    assert caught.value.mend == f"Free some space on the disk of {tmp_path / '.tercet'}."


async def test_a_server_that_never_answers_is_stopped_after_its_deadline(tmp_path: Path, redis_home: Path) -> None:
    """The error says how long it was waited for, and nothing goes on running."""
    _program(redis_home, "valkey-server", version="Valkey server v=8.0.0 sha=0", then="exec sleep 600")
    began = time.monotonic()
    with pytest.raises(ServerFailed, match="after 1 s it was still starting"):
        await Servers(tmp_path / ".tercet", ("redis",), ready_seconds=1).start()
    assert time.monotonic() - began < 60
    assert (await status(tmp_path / ".tercet"))[2].state == "stopped"


async def test_when_one_server_fails_the_others_are_stopped_again(tmp_path: Path, redis_home: Path) -> None:
    """No half of a set stays behind."""
    _program(redis_home, "redis-server", version="Redis server v=7.2.4", then="sleep 0.5; exit 1")
    with pytest.raises(ServerFailed, match="The redis server did not start"):
        await Servers(tmp_path / ".tercet", ("redis", "mongo"), sources=("wheel",)).start()
    assert [one.state for one in await status(tmp_path / ".tercet")] == ["absent", "stopped", "stopped"]


async def test_a_detached_server_that_ends_at_once_is_quoted_too(tmp_path: Path, redis_home: Path) -> None:
    """It is not our child, and still its end is noticed and its log read."""
    _program(redis_home, "redis-server", version="Redis server v=7.2.4", then="echo no room; exit 1")
    with pytest.raises(ServerFailed, match="no room"):
        await Servers(tmp_path / ".tercet", ("redis",), detached=True).start()


async def test_one_that_is_too_old_is_named_with_what_would_do(tmp_path: Path, redis_home: Path) -> None:
    """The sentence has the version found, the oldest that works, and how to get one."""
    _program(redis_home, "redis-server", version="Redis server v=5.0.7 sha=0", then="exit 1")
    with pytest.raises(ServerMissing) as caught:
        await Servers(tmp_path / ".tercet", ("redis",)).start()
    assert "5.0.7 is older than 6.2" in str(caught.value)
    assert "pip install 'tercet[embedded]'" in str(caught.value)


async def test_a_data_folder_with_something_else_in_it_is_not_touched(tmp_path: Path) -> None:
    """Files that are no cluster are somebody's; the start says so and leaves them."""
    data = tmp_path / ".tercet" / "postgres"
    data.mkdir(parents=True)
    (data / "thesis.txt").write_text("years of work")
    with pytest.raises(ServerFailed, match="not empty"):
        await Servers(tmp_path / ".tercet", ("postgres",), sources=("wheel",)).start()
    assert (data / "thesis.txt").read_text() == "years of work"
