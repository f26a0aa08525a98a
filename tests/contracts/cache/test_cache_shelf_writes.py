"""What a write promises on a real server: it puts nothing old over what is newer, whenever it arrives."""

from __future__ import annotations

from typing import Any

import pytest

from tercet.cache.shelf import Drop
from tercet.cache.shelf.layout import Layout
from tercet.errors import StoreUnreachable

Desk = Any

NAME = "k:written"
KEYS = Layout("tercet")


async def test_a_write_that_was_given_up_and_arrives_late_writes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stood still, and others went on: what they wrote or dropped stays as it is."""
    here, there = desk.shelf(), desk.shelf()
    keep, given_up = here._keep, []

    async def stand_still(*words: Any) -> Any:
        given_up.append(words)
        raise StoreUnreachable("redis", reason="the test says so")

    monkeypatch.setattr(here, "_keep", stand_still)
    for _ in range(2):
        with pytest.raises(StoreUnreachable):
            await here.write(NAME, b"old", 60, ())
    await there.write(NAME, b"new", 60, ())
    assert await keep(*given_up[0]) == (False, {})
    assert await there.read_one(NAME) == b"new"
    await there.drop(Drop(names=(NAME,)))
    assert await keep(*given_up[1]) == (False, {})
    assert await there.read_one(NAME) is None


async def test_of_two_who_write_at_once_neither_leaves_what_was_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier one is refused, and says so."""
    here, there = desk.shelf(), desk.shelf()
    await here.write(NAME, b"oldest", 60, ())
    keep = here._keep

    async def later(*words: Any) -> Any:
        await desk.redis.delete(KEYS.lease(NAME))
        return await keep(*words)

    monkeypatch.setattr(here, "_keep", later)
    assert await here.write(NAME, b"old", 60, ()) == (False, {})
    assert await there.read_one(NAME) is None
