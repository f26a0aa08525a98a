"""Refusals: what went wrong is one word, wherever the server puts it."""

from __future__ import annotations

import pytest

from tercet.wire.port import Refusal

INSIDE = "ERR Error running script (call to f_affa202b): @user_script:1: "


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ("ERR wrong number", "ERR", "wrong number"),
        ("MOVED 866 127.0.0.1:7001", "MOVED", "866 127.0.0.1:7001"),
        (INSIDE + "WRONGTYPE Operation against a key", "WRONGTYPE", "Operation against a key"),
        (INSIDE + "@user_script: 1: -OOM command not allowed", "OOM", "command not allowed"),
        (
            INSIDE + "@user_script: 1: The user executing the script can't run this command",
            "NOPERM",
            "The user executing the script can't run this command",
        ),
        (INSIDE + "attempt to index a nil value", "ERR", INSIDE[4:] + "attempt to index a nil value"),
        ("", "", ""),
    ],
)
def test_the_code_is_that_of_the_command_which_was_refused(said: str, code: str, reason: str) -> None:
    """Also of one in a script, of which Redis before 7 speaks in a sentence."""
    assert (Refusal(said).code, Refusal(said).reason) == (code, reason)
