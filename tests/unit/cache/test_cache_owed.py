"""While a drop is still owed to the shelf, what the shelf has of it is hidden from its own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tercet.cache.shelf import Drop, Grant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.cache.shelf import Versions

    from .conftest import Bench, Twin
else:
    Bench = Twin = Any


def shelf_of(bench: Bench) -> Twin:
    """Its shelf, which it has."""
    assert bench.shelf is not None
    return bench.shelf


@pytest.fixture
async def owing(bench: Bench) -> Bench:
    """A process whose value was kept under a tag, and changed, and whose drops do not arrive any more."""
    await bench.fetch("a", "t")
    bench.value = 2
    shelf_of(bench).mute = True
    return bench


@pytest.mark.parametrize("drop", [Drop(names=("k:a",)), Drop(tags=("t",)), Drop(patterns=("a*",))])
async def test_nobody_here_is_shown_it(owing: Bench, drop: Drop) -> None:
    """Neither one caller nor many, and a lease is asked for although the shelf has an entry."""
    assert await owing.tiers.drop(drop) is False
    assert await owing.fetch("a", "t") == 2
    owing.tiers.memory.clear()
    assert await owing.tiers.straight.fetch_many([owing.ask("a", "t"), owing.ask("b")], lambda _: owing.load()) == [
        2,
        2,
    ]
    owing.tiers.memory.clear()
    assert await owing.tiers.look(owing.ask("a", "t")) is None
    await owing.tiers.close()


async def test_a_load_that_is_not_kept_gives_its_lease_back(owing: Bench) -> None:
    """Others may load at once, and do not wait for its end."""
    assert await owing.tiers.drop(Drop(names=("k:a",))) is False
    assert await owing.fetch("a", "t") == 2
    assert shelf_of(owing).leases == {}
    await owing.tiers.close()


async def test_a_tag_that_the_reader_does_not_know_hides_it_too(owing: Bench) -> None:
    """Its writer gave it one, and that one is dropped."""
    assert await owing.tiers.drop(Drop(tags=("t",))) is False
    assert await owing.tiers.look(owing.ask("a")) is None
    assert await owing.found(owing.ask("a"), owing.ask("b")) == [None, None]
    assert await owing.fetch("a") == 2
    await owing.tiers.close()


async def test_a_delivery_during_a_read_of_many_makes_nothing_old_believed(
    owing: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is what was owed when the shelf was asked."""
    shelf = shelf_of(owing)
    assert await owing.tiers.drop(Drop(names=("k:a",))) is False
    read, delivery = shelf.read, owing.tiers.far.delivery
    assert delivery is not None

    async def read_and_deliver(
        names: Sequence[str], tags: Sequence[str], *, big: bool = False
    ) -> tuple[Sequence[bytes | None], Versions]:
        found: tuple[Sequence[bytes | None], Versions] = await read(names, tags, big=big)
        shelf.mute = False
        await delivery.close()
        return found

    monkeypatch.setattr(shelf, "read", read_and_deliver)
    assert await owing.found(owing.ask("a", "t"), owing.ask("b")) == [None, None]
    assert delivery.pending == 0


async def test_a_server_that_has_lost_a_drop_is_not_believed_by_who_asked_before_it_was_met(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that waited for the connection is answered on it, before the drop is told again."""
    shelf, delivery = shelf_of(bench), bench.tiers.far.delivery
    assert delivery is not None
    await bench.fetch("a")
    before = dict(shelf.entries)
    assert await bench.tiers.drop(Drop(names=("k:a",)))
    bench.value = 2
    read_one, read, lease = shelf.read_one, shelf.read, shelf.lease

    async def one(name: str, *, big: bool = False) -> bytes | None:
        shelf.entries |= before
        found: bytes | None = await read_one(name, big=big)
        shelf.connect()
        return found

    async def many(
        names: Sequence[str], tags: Sequence[str], *, big: bool = False
    ) -> tuple[Sequence[bytes | None], Versions]:
        shelf.entries |= before
        found: tuple[Sequence[bytes | None], Versions] = await read(names, tags, big=big)
        shelf.connect()
        return found

    async def leave(name: str, tags: Sequence[str], *, anew: bool = False, instead: bytes | None = None) -> Grant:
        shelf.entries |= before
        granted: Grant = await lease(name, tags, anew=anew, instead=instead)
        shelf.connect()
        return granted

    monkeypatch.setattr(shelf, "read_one", one)
    assert await bench.tiers.look(bench.ask("a")) is None
    await delivery.delivered(60)
    monkeypatch.setattr(shelf, "read", many)
    assert await bench.found(bench.ask("a"), bench.ask("b")) == [None, None]
    await delivery.delivered(60)
    monkeypatch.setattr(shelf, "lease", leave)
    assert await bench.fetch("a") == 2
    await bench.tiers.close()
