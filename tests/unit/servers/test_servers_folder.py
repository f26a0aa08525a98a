"""The folder: its lock, its records, its logs."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import FolderBusy, SettingInvalid
from tercet.servers import STORES, Addresses, Servers, status
from tercet.servers import folder as layout
from tercet.servers.folder import FolderLock, Record, Site

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_held_folder_is_refused_with_the_holders_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As people typed it, without the password that was on the line."""
    monkeypatch.setattr(layout, "_BRIEF_HOLD_SECONDS", 0.0)
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "app.py", "redis://me:secret@host/0"])
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    await first.take(detached=False)
    with pytest.raises(FolderBusy) as caught:
        await second.take(detached=False)
    assert caught.value.command == "python3 app.py redis://…@host/0"
    first.release()
    first.release()
    await second.take(detached=False)
    second.release()


@given(st.binary())
def test_any_bytes_in_a_record_are_a_record_or_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """A record that was half written, or written by another version, is as good as none."""
    site = Site("redis", tmp_path_factory.getbasetemp() / "records")
    site.folder.mkdir(exist_ok=True)
    site.record_path.write_bytes(data)
    assert site.record() is None


def test_a_record_of_another_folder_is_none(tmp_path: Path) -> None:
    """A copied folder does not take the first one's servers for its own."""
    site = Site("redis", tmp_path)
    record = Record(str(tmp_path), 1, "boot:2", 3, "9.1", "PATH", detached=True, since=4.5)
    site.record_path.write_bytes(msgspec.json.encode(record))
    assert site.record() == record
    site.record_path.write_bytes(msgspec.json.encode(dataclasses.replace(record, folder="/elsewhere")))
    assert site.record() is None


def test_the_tail_of_a_log_is_its_last_lines_whatever_is_in_it(tmp_path: Path) -> None:
    """Bytes that are no text do not hide the reason of a failure."""
    site = Site("mongo", tmp_path)
    assert site.tail() == ""
    site.log.write_bytes(b"\xff\xfe\n" * 50_000 + "zuletzt: größer\n".encode())
    assert site.tail().splitlines()[-1] == "zuletzt: größer"
    assert len(site.tail().splitlines()) == 12


def test_a_new_start_keeps_the_last_log_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before that is gone; so two logs are kept, and one of them is bounded."""
    monkeypatch.setattr(layout, "_LOG_KEPT_BYTES", 10)
    site = Site("mongo", tmp_path)
    site.rotate_log()
    site.log.write_text("a long line\nthe end\n")
    site.rotate_log()
    assert not site.log.exists()
    assert (tmp_path / "mongo.log.1").read_bytes() == b"e\nthe end\n"


async def test_the_status_of_a_folder_that_is_not_there_makes_none(tmp_path: Path) -> None:
    """Looking changes nothing."""
    assert [(one.store, one.state) for one in await status(tmp_path / "none")] == [(s, "absent") for s in STORES]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wanted", [(), ("mysql",), ("redis", "redis"), "redis"])
def test_only_known_servers_can_be_wanted(tmp_path: Path, wanted: tuple[str, ...]) -> None:
    """The error lists them."""
    with pytest.raises(SettingInvalid, match="postgres, mongo, redis"):
        Servers(tmp_path, wanted)


def test_only_known_sources_can_be_asked_for(tmp_path: Path) -> None:
    """The error lists them."""
    with pytest.raises(SettingInvalid, match="path, wheel"):
        Servers(tmp_path, sources=("docker",))


def test_nothing_is_started_or_made_by_naming_servers(tmp_path: Path) -> None:
    """Construction is free of effects."""
    Servers(tmp_path / ".tercet")
    assert list(tmp_path.iterdir()) == []
    assert Addresses() == Addresses(postgres=None, mongo=None, redis=None)
