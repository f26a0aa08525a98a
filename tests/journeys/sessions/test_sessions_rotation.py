"""Another id for the same session: at a login, from time to time, and when an old id comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tercet.errors import SessionConflict, SessionDataInvalid, SessionGone
from tercet.sessions import Session, SessionRefused, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.telemetry import Event


class Store(Protocol):
    """The server of conftest."""

    client: Any

    async def keys(self, match: str = "*") -> list[bytes]: ...

    async def everything(self) -> bytes: ...

    async def record(self, handle: str) -> bytes: ...

    async def later(self, seconds: float) -> None: ...


async def found(sessions: Sessions[Any], token: str) -> Session[Any]:
    """The session, which must be there."""
    session = await sessions.load(token)
    assert session is not None
    return session


async def test_a_rotated_session_is_the_same_under_another_id(sessions: Sessions[Any]) -> None:
    """Its handle, user, data and beginning stay."""
    old = await sessions.create(user_id=42, data={"n": 1}, device="Firefox")
    new = await sessions.rotate(old)
    assert new.id != old.id
    assert not new.former
    read = await found(sessions, new.id)
    assert (read.handle, read.user_id, read.data, read.device, read.created) == (
        old.handle,
        42,
        {"n": 1},
        "Firefox",
        old.created,
    )
    assert len(await sessions.devices(user_id=42)) == 1


async def test_requests_that_were_under_way_go_on_with_the_former_id(sessions: Sessions[Any]) -> None:
    """They read and write the session as it is now, and are told to set no cookie."""
    old = await sessions.create(user_id=42)
    under_way = [await found(sessions, old.id) for _ in range(3)]
    new = await sessions.rotate(old)
    read = await found(sessions, old.id)
    assert (read.former, read.id, read.handle) == (True, old.id, new.handle)
    await sessions.update(under_way[0], {"n": 1})
    await sessions.change(under_way[1], lambda data: data | {"m": 2})
    assert (await found(sessions, new.id)).data == {"n": 1, "m": 2}


async def test_of_many_requests_that_rotate_at_once_one_gets_the_new_id(sessions: Sessions[Any]) -> None:
    """The others go on with the former one; whichever answer comes last, the browser has a cookie that works."""
    session = await sessions.create(user_id=42)
    each = [await found(sessions, session.id) for _ in range(20)]
    rotated = await asyncio.gather(*(sessions.rotate(one) for one in each))
    (new,) = [one for one in rotated if not one.former]
    assert {one.id for one in rotated if one.former} == {session.id}
    await found(sessions, new.id)
    assert len(await sessions.devices(user_id=42)) == 1


async def test_the_former_id_ends_with_the_grace_time(sessions: Sessions[Any], store: Store, told: list[Event]) -> None:
    """Its use is told, and the session goes on."""
    old = await sessions.create(user_id=42)
    new = await sessions.rotate(old)
    await store.later(10)
    assert await sessions.load(old.id) is None
    with pytest.raises(SessionGone):
        await sessions.save(old)
    assert await sessions.revoke(old.id) is False
    assert told == [SessionRefused("replayed", old.handle)] * 3
    assert not (await found(sessions, new.id)).former


async def test_a_replayed_id_ends_the_session_where_that_was_chosen(
    make: Callable[..., Sessions[Any]], store: Store, told: list[Event]
) -> None:
    """Two have had the id, and nobody knows who of them is the thief; other sessions of the user stay."""
    sessions = make(replayed="revoke")
    old, other = await sessions.create(user_id=42), await sessions.create(user_id=42)
    newer = await sessions.rotate(old)
    newest = await sessions.rotate(newer)
    await store.later(11)
    assert await sessions.load(old.id) is None
    assert told == [SessionRefused("replayed", old.handle, revoked=True)]
    assert await sessions.load(newest.id) is None
    assert [one.handle for one in await sessions.devices(user_id=42)] == [other.handle]


async def test_a_replayed_id_is_known_for_eight_rotations(
    make: Callable[..., Sessions[Any]], store: Store, told: list[Event]
) -> None:
    """What is kept of former ids is bounded; an older one is an unknown one."""
    sessions = make(replayed="revoke")
    session = await sessions.create(user_id=42)
    ids = [session.id]
    for _ in range(20):
        session = await sessions.rotate(session)
        ids.append(session.id)
    assert len(await store.client.hget(await store.record(session.handle), "f")) == 8 * 45
    await store.later(11)
    assert await sessions.load(ids[11]) is None
    assert told == []
    await found(sessions, session.id)
    assert await sessions.load(ids[12]) is None
    assert len(told) == 1
    assert await sessions.load(session.id) is None


async def test_a_rotation_at_once_leaves_the_former_id_no_time(sessions: Sessions[Any]) -> None:
    """For a moment after which nobody may go on with the old one, such as a new password."""
    old = await sessions.create(user_id=42)
    new = await sessions.rotate(old, at_once=True)
    assert await sessions.load(old.id) is None
    await found(sessions, new.id)


async def test_without_a_grace_time_every_rotation_is_at_once(make: Callable[..., Sessions[Any]]) -> None:
    """Grace is a choice."""
    sessions = make(grace=0)
    old = await sessions.create(user_id=42)
    await sessions.rotate(old)
    assert await sessions.load(old.id) is None


async def test_a_login_moves_a_visit_to_the_user(sessions: Sessions[Any], store: Store) -> None:
    """With its basket; the visit's id is worth nothing from then on, without any grace."""
    visit = await sessions.create(data={"cart": [1]}, device="Firefox", ip="::1")
    assert visit.user_id is None
    login = await sessions.rotate(visit, user_id=42)
    assert (login.user_id, login.data, login.device, login.ip) == (42, {"cart": [1]}, "Firefox", "::1")
    assert await sessions.load(visit.id) is None
    assert (await found(sessions, login.id)).user_id == 42
    assert await store.keys(f"*:{visit.handle}") == []
    with pytest.raises(SessionGone):
        await sessions.save(visit)


async def test_who_knew_the_id_before_a_login_knows_nothing_after_it(make: Callable[..., Sessions[Any]]) -> None:
    """An id that was planted in a browser neither follows the login nor can end it, rotated before or not."""
    sessions = make(replayed="revoke")
    planted = await sessions.create()
    visit = await sessions.rotate(planted)
    login = await sessions.rotate(visit, user_id=42)
    again = await sessions.rotate(login, user_id=42)
    for known in (planted, visit, login):
        assert await sessions.load(known.id) is None
        assert await sessions.revoke(known.id) is False
    await found(sessions, again.id)


async def test_a_login_begins_the_absolute_time_anew(make: Callable[..., Sessions[Any]], store: Store) -> None:
    """For a visitor, and for the same user once more."""
    sessions = make(idle="1h", absolute="2h")
    session = await sessions.create()
    for _ in range(4):
        await store.later(3000)
        session = await sessions.rotate(session, user_id=42)
        assert session.created == session.seen
    await found(sessions, session.id)


async def test_another_user_gets_nothing_of_what_the_first_one_kept(sessions: Sessions[Any]) -> None:
    """A computer that is shared, or somebody who looks at the shop as a customer."""
    first = await sessions.create(user_id=42, data={"address": "at home"})
    second = await sessions.rotate(first, user_id=43)
    assert (second.user_id, second.data) == (43, {})
    assert await sessions.load(first.id) is None
    assert await sessions.devices(user_id=42) == []
    third = await sessions.rotate(second, user_id="43", data={"n": 1})
    assert (third.user_id, third.data) == ("43", {"n": 1})


async def test_another_user_s_session_needs_data_where_the_type_cannot_be_empty(
    make: Callable[..., Sessions[Any]],
) -> None:
    """It says so before anything is written."""
    sessions = make(type=tuple[int, str])
    first = await sessions.create(user_id=42, data=(1, "a"))
    with pytest.raises(SessionDataInvalid):
        await sessions.rotate(first, user_id=43)
    await found(sessions, first.id)
    assert (await sessions.rotate(first, user_id=43, data=(2, "b"))).data == (2, "b")


async def test_data_can_go_with_a_rotation_in_one_step(sessions: Sessions[Any]) -> None:
    """On top of what was read, for a login as for any other."""
    visit = await sessions.create(data={"n": 0})
    login = await sessions.rotate(visit, user_id=42, data={"n": 1})
    rotated = await sessions.rotate(login, data={"n": 2})
    assert (await found(sessions, rotated.id)).data == {"n": 2}
    await sessions.update(rotated, {"n": 3})
    assert (await found(sessions, rotated.id)).data == {"n": 3}


@pytest.mark.parametrize("user", [None, 42, 43])
async def test_data_on_top_of_another_version_is_refused_and_nothing_is_rotated(
    sessions: Sessions[Any], store: Store, user: int | None
) -> None:
    """Neither the id nor the data changes."""
    session = await sessions.create(user_id=42, data={"n": 0})
    mine = await found(sessions, session.id)
    await sessions.update(session, {"n": 1})
    with pytest.raises(SessionConflict):
        await sessions.rotate(mine, user_id=user, data={"n": 2})
    assert (await found(sessions, session.id)).data == {"n": 1}
    assert len(await store.keys()) == 2


async def test_what_is_not_saved_is_not_kept_by_a_rotation(sessions: Sessions[Any]) -> None:
    """One word keeps, and that is save."""
    session = await sessions.create(user_id=42, data={"n": 0})
    session.data["n"] = 1
    rotated = await sessions.rotate(session)
    assert rotated.data == {"n": 0}


async def test_of_two_logins_out_of_one_visit_one_is_made(sessions: Sessions[Any]) -> None:
    """The other is told that the visit has ended, and leaves no session behind."""
    visit = await sessions.create(data={"cart": [1]})
    logins = await asyncio.gather(*(sessions.rotate(visit, user_id=42) for _ in range(5)), return_exceptions=True)
    (made,) = [one for one in logins if isinstance(one, Session)]
    assert {type(one) for one in logins} == {Session, SessionGone}
    assert [one.handle for one in await sessions.devices(user_id=42)] == [made.handle]


async def test_a_login_with_a_former_id_is_refused_where_the_session_stays(sessions: Sessions[Any]) -> None:
    """Its new id is in the browser by then; the login is repeated with it."""
    session = await sessions.create(user_id=42)
    await sessions.rotate(session)
    former = await found(sessions, session.id)
    with pytest.raises(SessionConflict):
        await sessions.rotate(former, user_id=42)
    with pytest.raises(SessionConflict):
        await sessions.rotate(former, data={"n": 1})


async def test_a_save_in_the_middle_of_a_login_is_not_lost(sessions: Sessions[Any]) -> None:
    """The login is refused instead, leaves no session behind, and can be repeated with what was saved."""
    visit = await sessions.create(data={"n": 0})
    other = await found(sessions, visit.id)
    register: Any = sessions._register

    class Overtaken:
        """The register, with another request that saves between two steps of the login."""

        def __getattr__(self, name: str) -> Any:
            return getattr(register, name)

        async def create(self, *words: Any) -> Any:
            sessions._register = register
            await sessions.update(other, {"n": 1})
            return await register.create(*words)

    sessions._register = Overtaken()
    with pytest.raises(SessionConflict):
        await sessions.rotate(visit, user_id=42)
    assert await sessions.devices(user_id=42) == []
    assert (await sessions.rotate(visit, user_id=42)).data == {"n": 1}


class Stopped(Exception):
    """The process was killed here."""


@pytest.mark.parametrize("step", ["create", "take"])
async def test_a_process_that_dies_within_a_login_leaves_nothing_that_can_log_in(
    sessions: Sessions[Any], step: str
) -> None:
    """The visit goes on, is still nobody's, and can log in again."""
    visit = await sessions.create(data={"cart": [1]})
    register: Any = sessions._register

    class Dying:
        """The register, up to the step at which the process dies."""

        def __getattr__(self, name: str) -> Any:
            if name == step:
                raise Stopped
            return getattr(register, name)

    sessions._register = Dying()
    with pytest.raises(Stopped):
        await sessions.rotate(visit, user_id=42)
    sessions._register = register
    assert (await found(sessions, visit.id)).user_id is None
    left = await sessions.devices(user_id=42)
    assert len(left) == (1 if step == "take" else 0)
    login = await sessions.rotate(visit, user_id=42)
    assert login.data == {"cart": [1]}
    for device in left:
        assert await sessions.revoke_device(device.handle, user_id=42) is True
    assert len(await sessions.devices(user_id=42)) == 1
