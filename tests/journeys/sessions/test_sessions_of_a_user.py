"""All sessions of a user: listed without their ids, ended one by one or at once, in an index that keeps clean."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.sessions import Session, Sessions


class Store(Protocol):
    """The server of conftest."""

    client: Any

    async def keys(self, match: str = "*") -> list[bytes]: ...

    async def record(self, handle: str) -> bytes: ...

    async def index(self, handle: str) -> bytes: ...

    async def later(self, seconds: float) -> None: ...


async def test_devices_are_listed_the_latest_first(sessions: Sessions[Any], store: Store) -> None:
    """What they are, since when, and when they were last seen; nothing that would let somebody in."""
    old = await sessions.create(user_id=42, device="Firefox", ip="10.0.0.1")
    await store.later(600)
    new = await sessions.create(user_id=42, device="Safari")
    await sessions.create(user_id="42")
    await sessions.create()
    devices = await sessions.devices(user_id=42)
    assert [(one.handle, one.device, one.ip) for one in devices] == [
        (new.handle, "Safari", ""),
        (old.handle, "Firefox", "10.0.0.1"),
    ]
    assert devices[1].created < devices[0].created
    await store.later(1)
    await sessions.load(old.id)
    assert next(one.handle for one in await sessions.devices(user_id=42)) == old.handle
    assert await sessions.devices(user_id=43) == []


async def test_a_device_is_revoked_by_its_handle_and_only_by_its_user(sessions: Sessions[Any]) -> None:
    """A handle may come from a form: another user's, or any text, is not found."""
    mine, other = await sessions.create(user_id=42), await sessions.create(user_id=42)
    for handle in (mine.handle, "", "*", "x" * 16, "}:", mine.id):
        assert await sessions.revoke_device(handle, user_id=43) is False
    assert await sessions.load(mine.id) is not None
    assert await sessions.revoke_device(mine.handle, user_id=42) is True
    assert await sessions.revoke_device(mine.handle, user_id=42) is False
    assert await sessions.load(mine.id) is None
    assert await sessions.load(other.id) is not None


async def test_all_sessions_of_a_user_end_at_once(sessions: Sessions[Any], store: Store) -> None:
    """Nobody else's do, and nothing of theirs remains."""
    mine = [await sessions.create(user_id=42) for _ in range(5)]
    other, visit = await sessions.create(user_id="42"), await sessions.create()
    assert await sessions.revoke_all(user_id=42) == 5
    assert [await sessions.load(one.id) for one in mine] == [None] * 5
    assert await sessions.load(other.id) is not None
    assert await sessions.load(visit.id) is not None
    assert len(await store.keys()) == 3
    assert await sessions.revoke_all(user_id=42) == 0


async def test_all_but_the_session_that_asks_end_at_once(sessions: Sessions[Any], store: Store) -> None:
    """ "Log out everywhere else"; it goes on with its index, which still expires."""
    mine = [await sessions.create(user_id=42) for _ in range(5)]
    assert await sessions.revoke_all(user_id=42, except_=mine[2]) == 4
    assert [await sessions.load(one.id) is not None for one in mine] == [False, False, True, False, False]
    assert [one.handle for one in await sessions.devices(user_id=42)] == [mine[2].handle]
    assert 0 < await store.client.pttl(await store.index(mine[2].handle)) <= 1_800_000
    with pytest.raises(UsageError):
        await sessions.revoke_all(user_id=43, except_=mine[2])


async def test_a_session_that_has_ended_is_not_excepted(sessions: Sessions[Any], store: Store) -> None:
    """It is not brought back by being named."""
    gone, other = await sessions.create(user_id=42), await sessions.create(user_id=42)
    await sessions.revoke(gone)
    assert await sessions.revoke_all(user_id=42, except_=gone) == 1
    assert await sessions.load(gone.id) is None
    assert await sessions.load(other.id) is None
    assert await store.keys() == []


async def test_a_session_that_its_index_has_lost_lets_nobody_in(sessions: Sessions[Any], store: Store) -> None:
    """Evicted, lost in a failover, or removed by hand: what revoke_all cannot see is dead by itself."""
    lost, other = await sessions.create(user_id=42), await sessions.create(user_id=42)
    key = await store.record(lost.handle)
    await store.client.zrem(await store.index(lost.handle), lost.handle)
    kept = await store.client.hgetall(key)
    assert await sessions.load(lost.id) is None
    assert await sessions.load(other.id) is not None
    await sessions.revoke_all(user_id=42)
    await sessions.create(user_id=42)
    # A copy that comes back from somewhere after all is still not one of the user's.
    await store.client.hset(key, mapping=kept)
    assert await sessions.load(lost.id) is None
    assert await store.keys(f"*:{lost.handle}") == []


async def test_an_index_that_is_gone_ends_its_sessions(sessions: Sessions[Any], store: Store) -> None:
    """Better logged out than not revocable."""
    session = await sessions.create(user_id=42)
    await store.client.delete(await store.index(session.handle))
    assert await sessions.load(session.id) is None
    assert await store.keys() == []


async def test_a_use_brings_nothing_back_into_the_index(sessions: Sessions[Any], store: Store) -> None:
    """Also when the use is to be written down, and the session is revoked at that moment."""
    session = await sessions.create(user_id=42)
    await store.later(600)
    kept = await store.client.hgetall(await store.record(session.handle))
    key = await store.record(session.handle)
    await sessions.revoke_all(user_id=42)
    await store.client.hset(key, mapping=kept)
    assert await sessions.load(session.id) is None
    assert await store.keys() == []


async def test_a_thousand_sessions_of_a_user_are_listed_and_ended(sessions: Sessions[Any], store: Store) -> None:
    """In slices, so that nobody else waits for them."""
    made = await asyncio.gather(*(sessions.create(user_id=42, device=str(number)) for number in range(1000)))
    devices = await sessions.devices(user_id=42)
    assert {one.handle for one in devices} == {one.handle for one in made}
    assert {one.device for one in devices} == {str(number) for number in range(1000)}
    assert await sessions.revoke_all(user_id=42, except_=made[0]) == 999
    assert len(await store.keys()) == 2
    assert await sessions.load(made[0].id) is not None
    assert await sessions.load(made[999].id) is None


async def test_an_index_forgets_sessions_that_have_expired(sessions: Sessions[Any], store: Store) -> None:
    """With the next login, so that it does not grow with a user who never logs out."""
    for _ in range(10):
        session = await sessions.create(user_id=42)
        await store.later(600)
    index = await store.index(session.handle)
    assert await store.client.zcard(index) == 3
    assert len(await sessions.devices(user_id=42)) == 2


async def test_a_login_elsewhere_does_not_end_a_session_that_is_in_use(sessions: Sessions[Any], store: Store) -> None:
    """However long ago it began: each use moves its place in the index on."""
    session = await sessions.create(user_id=42)
    for _ in range(3):
        await store.later(1200)
        assert await sessions.load(session.id) is not None
        await sessions.create(user_id=42)
    assert await sessions.load(session.id) is not None


async def test_sessions_that_had_ended_before_are_not_counted_as_ended(sessions: Sessions[Any], store: Store) -> None:
    """Neither all at once nor one by its handle."""
    evicted = await sessions.create(user_id=42)
    await store.client.delete(await store.record(evicted.handle))
    assert await sessions.revoke_device(evicted.handle, user_id=42) is False
    await sessions.create(user_id=42)
    await store.later(1800)
    assert await sessions.revoke_all(user_id=42) == 0


async def test_a_list_forgets_sessions_whose_keys_are_gone(sessions: Sessions[Any], store: Store) -> None:
    """Evicted ones, say; and those that are idle by the rules of whoever looks."""
    sessions_gone = [await sessions.create(user_id=42) for _ in range(3)]
    stays = await sessions.create(user_id=42)
    for session in sessions_gone:
        await store.client.delete(await store.record(session.handle))
    assert [one.handle for one in await sessions.devices(user_id=42)] == [stays.handle]
    assert await store.client.zcard(await store.index(stays.handle)) == 1


async def test_an_index_outlives_each_of_its_sessions(make: Callable[..., Sessions[Any]], store: Store) -> None:
    """Also when a shorter one was made last."""
    long, short = make(idle="10d"), make(idle="1m")
    session = await long.create(user_id=42)
    await short.create(user_id=42)
    key, index = await store.record(session.handle), await store.index(session.handle)
    assert await store.client.pttl(index) >= await store.client.pttl(key)


async def test_a_login_during_a_revocation_is_whole_or_not_at_all(sessions: Sessions[Any], store: Store) -> None:
    """Every session that is there afterwards is in the list, and the other way round."""
    made: list[Session[Any]] = []

    async def request(number: int) -> None:
        if number % 10 == 9:
            await sessions.revoke_all(user_id=42)
        else:
            made.append(await sessions.create(user_id=42))

    await asyncio.gather(*map(request, range(100)))
    alive = {one.handle for one in made if await sessions.load(one.id) is not None}
    assert {one.handle for one in await sessions.devices(user_id=42)} == alive
    assert len(await store.keys()) == len(alive) + (1 if alive else 0)
