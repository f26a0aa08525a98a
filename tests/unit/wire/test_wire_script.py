"""Scripts: their text lies in a file, and their name is a hash."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tercet.wire import Script


def test_a_script_is_read_from_beside_its_module(tmp_path: Path) -> None:
    """Its name is the file's, its hash the one that Redis computes."""
    (tmp_path / "one.lua").write_text("return 1", encoding="utf-8")
    script = Script.beside(str(tmp_path / "module.py"), "one")
    assert (script.name, script.text) == ("one", "return 1")
    assert script.sha == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
    with pytest.raises(dataclasses.FrozenInstanceError):
        script.text = "return 2"  # type: ignore[misc]  # that it cannot be set is what is tried


def test_a_script_does_not_show_its_text_when_it_is_logged() -> None:
    """A page of Lua in a log helps nobody."""
    assert "return" not in repr(Script("one", "return 1"))
