"""A session from its beginning to its end: found, saved, rotated, expired, and never brought back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tercet.errors import SessionConflict, SessionDataInvalid, SessionGone, SettingInvalid, UsageError
from tercet.sessions import Session, SessionRefused, Sessions
from tercet.sessions.token import mint, user_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.telemetry import Event

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Store(Protocol):
    """The server of conftest."""

    client: Any

    async def keys(self, match: str = "*") -> list[bytes]: ...

    async def everything(self) -> bytes: ...

    async def record(self, handle: str) -> bytes: ...

    async def index(self, handle: str) -> bytes: ...

    async def later(self, seconds: float) -> None: ...


async def found(sessions: Sessions[Any], token: str) -> Session[Any]:
    """The session, which must be there."""
    session = await sessions.load(token)
    assert session is not None
    return session


async def test_a_session_is_found_by_its_id_with_all_that_was_said(sessions: Sessions[Any]) -> None:
    """User, data, device and address; the handle is the same, and nothing is guessed."""
    made = await sessions.create(user_id=42, data={"cart": [1, 2]}, device="Firefox", ip="::1")
    session = await found(sessions, made.id)
    assert (session.user_id, session.data, session.device, session.ip) == (42, {"cart": [1, 2]}, "Firefox", "::1")
    assert (session.id, session.handle, session.created) == (made.id, made.handle, made.created)
    assert session.ends - session.created == timedelta(days=14)
    assert not session.former


@pytest.mark.parametrize("user", [1, "1", -5, 2**127, "ü{x}:*", "a" * 500])
async def test_a_user_keeps_the_type_and_text_of_their_id(sessions: Sessions[Any], user: int | str) -> None:
    """Also with braces in it, which mean something to a cluster."""
    session = await found(sessions, (await sessions.create(user_id=user)).id)
    assert session.user_id == user
    assert type(session.user_id) is type(user)
    assert [one.handle for one in await sessions.devices(user_id=user)] == [session.handle]


async def test_an_id_that_redis_does_not_know_is_none_and_makes_nothing(sessions: Sessions[Any], store: Store) -> None:
    """Nobody can choose an id: not a well-formed one, not one beside a session that exists, not any text."""
    await sessions.create(user_id=42)
    before = await store.everything()
    real = await sessions.create()
    await sessions.revoke(real)
    beside = (await sessions.create(user_id=43)).id
    await sessions.revoke_all(user_id=43)
    for token in (mint(b"").text, mint(user_bytes(42)).text, real.id, beside, "", "admin", "x" * 10_000, None):
        assert await sessions.load(token) is None
    assert await store.everything() == before


async def test_a_handle_with_another_secret_lets_nobody_in_and_ends_nothing(make: Callable[..., Sessions[Any]]) -> None:
    """The handle is no secret, so what can be done with it alone must be nothing."""
    sessions = make(replayed="revoke")
    session = await sessions.create(user_id=42)
    guess = session.id[:36] + mint(b"").text[36:]
    assert await sessions.load(guess) is None
    assert await sessions.revoke(guess) is False
    session.id = guess
    with pytest.raises(SessionGone):
        await sessions.save(session)
    with pytest.raises(SessionGone):
        await sessions.rotate(session)
    assert len(await sessions.devices(user_id=42)) == 1


async def test_whoever_reads_redis_finds_no_id(make: Callable[..., Sessions[Any]], store: Store) -> None:
    """Neither an id nor its secret stands anywhere, also not a former one."""
    sessions = make()
    visit = await sessions.create(data={"a": 1})
    login = await sessions.rotate(visit, user_id=42)
    rotated = await sessions.rotate(login)
    await sessions.save(rotated)
    everything = await store.everything()
    assert rotated.handle.encode() in everything
    for token in (visit.id, login.id, rotated.id):
        assert token[36:].encode() not in everything
        assert token[36:60].encode() not in everything


async def test_a_save_is_there_at_the_next_load(sessions: Sessions[Any]) -> None:
    """Changed in place, or replaced; twice in a row too."""
    session = await sessions.create(user_id=42)
    session.data["cart"] = [1]
    await sessions.save(session)
    assert (await found(sessions, session.id)).data == {"cart": [1]}
    await sessions.update(session, {"cart": [1, 2]})
    assert session.data == {"cart": [1, 2]}
    assert (await found(sessions, session.id)).data == {"cart": [1, 2]}


async def test_a_save_on_top_of_another_one_is_refused(sessions: Sessions[Any]) -> None:
    """The first stays; the second still has its own data, and can be repeated on what is there."""
    session = await sessions.create(user_id=42, data={"n": 0})
    first, second = await found(sessions, session.id), await found(sessions, session.id)
    await sessions.update(first, {"n": 1})
    with pytest.raises(SessionConflict) as refused:
        await sessions.update(second, {"n": 2})
    assert refused.value.handle == session.handle
    assert second.data == {"n": 0}
    assert (await found(sessions, session.id)).data == {"n": 1}


async def test_changes_of_many_requests_at_once_are_all_kept(sessions: Sessions[Any]) -> None:
    """Each is applied to what is there, again where another was quicker."""
    session = await sessions.create(user_id=42, data={"n": 0})

    async def request() -> None:
        mine = await found(sessions, session.id)
        while True:
            try:
                await sessions.change(mine, lambda data: {"n": data["n"] + 1})
            except SessionConflict:
                continue
            return

    await asyncio.gather(*(request() for _ in range(10)))
    assert (await found(sessions, session.id)).data == {"n": 10}


async def test_a_change_that_is_always_overtaken_ends_with_a_conflict(sessions: Sessions[Any], store: Store) -> None:
    """It does not go round for ever."""
    session = await sessions.create(user_id=42, data={"n": 0})
    key = await store.record(session.handle)
    versions = iter(range(1000, 2000))
    calls = []

    def how(data: dict[str, int]) -> dict[str, int]:
        calls.append(data)
        return {"n": data["n"] + 1}

    load = sessions._load

    async def overtaken(text: str | None) -> Session[Any] | None:
        read = await load(text)
        await store.client.hset(key, "v", next(versions))
        return read

    sessions._load = overtaken  # type: ignore[method-assign]  # a quicker request after each read, every time
    with pytest.raises(SessionConflict):
        await sessions.change(session, how)
    assert len(calls) == 8


async def test_a_late_save_after_a_revocation_brings_nothing_back(sessions: Sessions[Any], store: Store) -> None:
    """Whatever is done with a session that has ended, it stays ended."""
    session = await sessions.create(user_id=42)
    assert await sessions.revoke(session) is True
    for late in (
        sessions.save(session),
        sessions.update(session, {"x": 1}),
        sessions.change(session, dict),
        sessions.rotate(session),
        sessions.rotate(session, user_id=42),
        sessions.rotate(session, user_id=43),
    ):
        with pytest.raises(SessionGone):
            await late
    assert await sessions.revoke(session) is False
    assert await sessions.load(session.id) is None
    assert await store.keys() == []


async def test_a_session_can_be_revoked_by_its_id(sessions: Sessions[Any]) -> None:
    """Who logs out has a cookie, and perhaps not loaded anything."""
    session = await sessions.create(user_id=42)
    assert await sessions.revoke(session.id) is True
    assert await sessions.load(session.id) is None
    assert await sessions.revoke("nonsense") is False


async def test_a_session_that_is_not_used_ends(sessions: Sessions[Any], store: Store) -> None:
    """After the idle time, and not after less; nothing of it remains."""
    session = await sessions.create(user_id=42)
    await store.later(29 * MINUTE)
    assert await sessions.load(session.id) is not None
    await store.later(29 * MINUTE)
    assert await sessions.load(session.id) is not None
    await store.later(30 * MINUTE)
    with pytest.raises(SessionGone):
        await sessions.save(session)
    assert await sessions.load(session.id) is None
    assert await store.keys() == []


async def test_a_session_ends_however_much_it_is_used(make: Callable[..., Sessions[Any]], store: Store) -> None:
    """The absolute time counts from the beginning, and a rotation does not begin anew."""
    sessions = make(idle="30m", absolute="2h")
    session = await sessions.create(user_id=42)
    for _ in range(5):
        await store.later(20 * MINUTE)
        session = await sessions.rotate(await found(sessions, session.id))
    await store.later(20 * MINUTE)
    assert await sessions.load(session.id) is None


async def test_a_use_is_written_down_once_in_a_tenth_of_the_idle_time(sessions: Sessions[Any], store: Store) -> None:
    """Between that, reading is only reading."""
    session = await sessions.create(user_id=42)
    await store.later(2 * MINUTE)
    before = await store.everything()
    assert (await found(sessions, session.id)).seen < session.seen
    assert await store.everything() == before
    await store.later(1 * MINUTE)
    assert (await found(sessions, session.id)).seen >= session.seen


async def test_keys_expire_by_themselves(make: Callable[..., Sessions[Any]], store: Store) -> None:
    """What nobody asks for again does not stay: sessions go with the idle time, an index with its last session."""
    sessions = make(idle="1h", absolute="10h")
    session = await sessions.create(user_id=42)
    record, index = await store.record(session.handle), await store.index(session.handle)
    for key in (record, index):
        assert 50 * MINUTE * 1000 < await store.client.pttl(key) <= HOUR * 1000
    await store.client.pexpire(record, 600_000)
    await store.client.pexpire(index, 600_000)
    await store.later(30 * MINUTE)
    assert await sessions.load(session.id) is not None
    for key in (record, index):
        assert 50 * MINUTE * 1000 < await store.client.pttl(key) <= HOUR * 1000


async def test_no_key_outlives_the_absolute_time(make: Callable[..., Sessions[Any]], store: Store) -> None:
    """However late in a session's life it is used."""
    sessions = make(idle="1h", absolute="2h")
    session = await sessions.create(user_id=42)
    await store.later(50 * MINUTE)
    await found(sessions, session.id)
    await store.later(50 * MINUTE)
    await found(sessions, session.id)
    assert await store.client.pttl(await store.record(session.handle)) <= 20 * MINUTE * 1000


async def test_shorter_times_hold_for_sessions_that_are_there_already(
    make: Callable[..., Sessions[Any]], store: Store
) -> None:
    """The rules are those of whoever asks, so a release that tightens them is obeyed at once."""
    session = await make(idle="10h").create(user_id=42)
    await store.later(2 * HOUR)
    assert await make(idle="1h").load(session.id) is None


async def test_data_of_another_shape_is_no_session(make: Callable[..., Sessions[Any]], told: list[Event]) -> None:
    """It is not touched, for the release that wrote it may still be running."""
    old, new = make(), make(type=dict[str, int])
    session = await old.create(user_id=42, data={"name": "x"})
    assert await new.load(session.id) is None
    assert told == [SessionRefused("misfit", session.handle)]
    assert (await found(old, session.id)).data == {"name": "x"}


async def test_data_of_another_shape_is_the_default_where_there_is_one(make: Callable[..., Sessions[Any]]) -> None:
    """The user stays logged in, and what is saved then has the new shape."""
    session = await make().create(user_id=42, data={"name": "x"})
    new = make(type=dict[str, int], default=lambda: {"n": 0})
    read = await found(new, session.id)
    assert (read.user_id, read.data) == (42, {"n": 0})
    await new.save(read)
    assert await make(type=dict[str, int]).load(session.id) is not None


async def test_data_that_is_refused_leaves_what_was_there(sessions: Sessions[Any], store: Store) -> None:
    """Too large, or of a type that would not come back: nothing is written."""
    session = await sessions.create(user_id=42, data={"n": 1})
    before = await store.everything()
    for data in ({"x": "x" * 70_000}, {"x": {1}}):
        with pytest.raises(SessionDataInvalid):
            await sessions.update(session, data)
        with pytest.raises(SessionDataInvalid):
            await sessions.create(data=data)
        with pytest.raises(SessionDataInvalid):
            await sessions.rotate(session, data=data)
    assert session.data == {"n": 1}
    assert await store.everything() == before


async def test_large_data_comes_back_whole(make: Callable[..., Sessions[Any]]) -> None:
    """As large as it was said that it may be."""
    sessions = make(data_max="1MB")
    session = await sessions.create(user_id=42, data={"x": "ä" * 400_000})
    assert (await found(sessions, session.id)).data == session.data
    await sessions.save(session)
    assert (await sessions.rotate(session)).data == session.data


async def test_what_a_browser_says_of_itself_cannot_hurt(sessions: Sessions[Any]) -> None:
    """It is cut and mended, never an error: it comes from outside."""
    session = await sessions.create(user_id=42, device="\ud800" + "x" * 10_000, ip=None)
    assert session.device == "?" + "x" * 255
    assert (await found(sessions, session.id)).device == session.device
    assert (await sessions.create(device=None)).device == ""


async def test_applications_with_other_namespaces_do_not_share_sessions(make: Callable[..., Sessions[Any]]) -> None:
    """A name that could mean another key is refused."""
    session = await make(namespace="shop").create(user_id=42)
    assert await make(namespace="office").load(session.id) is None
    assert await make(namespace="office").revoke_all(user_id=42) == 0
    assert await make(namespace="shop").load(session.id) is not None
    for name in ("", "a:b", "{x}", "x" * 65):
        with pytest.raises(SettingInvalid):
            make(namespace=name)


async def test_a_session_whose_id_was_written_over_is_refused(sessions: Sessions[Any]) -> None:
    """An id is made by tercet or it is none."""
    session = await sessions.create(user_id=42)
    session.id = "admin"
    with pytest.raises(UsageError):
        await sessions.save(session)


@pytest.mark.parametrize("field", ["d", "u", "c", "s", "v", "x", "t", "p"])
async def test_a_session_of_which_something_is_missing_is_none(
    sessions: Sessions[Any], store: Store, field: str
) -> None:
    """Whoever removed a part of it, what is left lets nobody in."""
    session = await sessions.create(user_id=42)
    await store.client.hdel(await store.record(session.handle), field)
    assert await sessions.load(session.id) is None
