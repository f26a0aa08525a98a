"""Folders that a machine left when it went down are taken away; those that somebody still holds are not."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from tercet.advisor.private import Recipe, reaper


def _folder(place: Path, name: str, *, held: bool = True, young: bool = False) -> Path:
    """A folder as a private server has it, begun long ago."""
    made = place / f"{reaper.PREFIX}{name}"
    (made / "postgres" / "base").mkdir(parents=True)
    (made / "postgres" / "base" / "1").write_bytes(b"a row")
    if held:
        (made / reaper.HELD).touch()
    if not young:
        long_ago = time.time() - 2 * reaper.YOUNG_SECONDS
        os.utime(made, (long_ago, long_ago))
    return made


@pytest.mark.parametrize("held", [True, False])
def test_a_folder_that_nobody_holds_any_more_is_taken_away(tmp_path: Path, held: bool) -> None:
    """Whether its maker had come as far as to hold it, or was killed before."""
    left = _folder(tmp_path, "left", held=held)
    reaper.sweep(tmp_path)
    assert not left.exists()


def test_a_folder_that_somebody_holds_stays_until_then(tmp_path: Path) -> None:
    """Either of its maker and its reaper is enough: both hold the same lock."""
    living = _folder(tmp_path, "living")
    maker = os.open(living / reaper.HELD, os.O_RDWR)
    fcntl.flock(maker, fcntl.LOCK_EX)
    watching = os.dup(maker)
    os.close(maker)
    reaper.sweep(tmp_path)
    assert (living / "postgres" / "base" / "1").read_bytes() == b"a row"
    os.close(watching)
    reaper.sweep(tmp_path)
    assert not living.exists()


def test_what_is_young_or_of_another_name_or_a_link_is_left_alone(tmp_path: Path) -> None:
    """A folder that is just being made is not held yet; and what lies behind a link may be anything."""
    young = _folder(tmp_path, "young", held=False, young=True)
    other = tmp_path / "somebody-else"
    other.mkdir()
    link = tmp_path / f"{reaper.PREFIX}link"
    link.symlink_to(other, target_is_directory=True)
    os.utime(link, (0, 0), follow_symlinks=False)
    reaper.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([young, other, link])


def test_the_nearest_version_is_looked_for_first() -> None:
    """Of two that are as near, the newer one; one that nobody has heard of yet is looked for as well."""
    assert Recipe(15).majors(14)[:4] == (15, 16, 14, 17)
    assert Recipe(25).majors(14)[0] == 25
    assert Recipe().majors(14) == (None,)
