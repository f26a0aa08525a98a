"""Sessions whose Redis is frozen, killed, full, or a cluster: nobody is logged in by a fault."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import redis.asyncio as driver

from tercet.clock import SystemClock
from tercet.errors import CommandRefused, DeadlinePassed, SessionGone, StoreError, StoreUnreachable
from tercet.sessions import Session, Sessions
from tercet.telemetry import Telemetry
from tercet.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Where the server is well, nothing must depend on how fast this machine is.
PATIENCE = 30.0

# Where it is frozen, this is waited for in vain.
SHORT = 0.2

# However it is away, it is one of these, and worth another try.
AWAY = (StoreUnreachable, DeadlinePassed)


class OwnRedis(Protocol):
    """The server of a test's own."""

    url: str

    def start(self, *settings: str) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


def _wire(url: str, deadline: float) -> Wire:
    return Wire.at(url, deadline=deadline, clock=SystemClock(), telemetry=Telemetry())


@pytest.fixture
async def patient(own_redis: OwnRedis) -> AsyncIterator[Wire]:
    """A wire that waits for a slow machine."""
    wire = _wire(own_redis.url, PATIENCE)
    yield wire
    await wire.close()


@pytest.fixture
async def hasty(own_redis: OwnRedis) -> AsyncIterator[Wire]:
    """A wire that does not wait for a frozen server."""
    wire = _wire(own_redis.url, SHORT)
    yield wire
    await wire.close()


async def back(sessions: Sessions[Any], token: str) -> Session[Any] | None:
    """What is found as soon as the server answers again."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return await sessions.load(token)
        except StoreError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.01)


async def test_nobody_is_logged_in_by_a_frozen_server(own_redis: OwnRedis, patient: Wire, hasty: Wire) -> None:
    """A load raises, or finds nobody where that was chosen; an end that did not arrive is never called one."""
    session = await Sessions(patient).create(user_id=42, data={"n": 1})
    loud, quiet = Sessions(hasty), Sessions(hasty, when_away="none")
    own_redis.freeze()
    try:
        with pytest.raises(AWAY):
            await loud.load(session.id)
        assert await quiet.load(session.id) is None
        late = await asyncio.gather(
            quiet.save(session),
            quiet.change(session, dict),
            quiet.rotate(session),
            quiet.revoke(session),
            quiet.revoke_all(user_id=42),
            quiet.revoke_device(session.handle, user_id=42),
            quiet.devices(user_id=42),
            quiet.create(user_id=42),
            return_exceptions=True,
        )
        assert [type(one) for one in late if not isinstance(one, AWAY)] == []
        # What cannot be an id is nobody's, also without asking.
        assert await loud.load("nonsense") is None
    finally:
        own_redis.thaw()


async def test_sessions_are_there_again_when_the_server_is(own_redis: OwnRedis, patient: Wire, hasty: Wire) -> None:
    """Without a restart of the program."""
    session = await Sessions(patient).create(user_id=42, data={"n": 1})
    sessions = Sessions(hasty)
    own_redis.freeze()
    try:
        with pytest.raises(AWAY):
            await sessions.load(session.id)
    finally:
        own_redis.thaw()
    found = await back(sessions, session.id)
    assert found is not None
    assert found.data == {"n": 1}


async def test_a_server_that_was_killed_and_has_lost_everything_logs_everybody_out(
    own_redis: OwnRedis, patient: Wire
) -> None:
    """It knows no script any more either; a late request brings no session back."""
    sessions = Sessions(patient)
    session = await sessions.create(user_id=42)
    own_redis.kill()
    with pytest.raises(AWAY):
        await sessions.load(session.id)
    own_redis.start()
    assert await back(sessions, session.id) is None
    with pytest.raises(SessionGone):
        await sessions.save(session)
    assert await sessions.devices(user_id=42) == []
    again = await sessions.create(user_id=42)
    assert await sessions.load(again.id) is not None


async def test_on_a_full_server_sessions_can_be_read_and_ended(own_redis: OwnRedis, patient: Wire) -> None:
    """Also when a use was to be written down; what cannot be kept is refused with the reason, whole or not at all."""
    sessions = Sessions(patient)
    session, other = [await sessions.create(user_id=42, data={"n": 1}) for _ in range(2)]
    async with driver.from_url(own_redis.url) as client:
        (key,) = [key async for key in client.scan_iter(f"*:{session.handle}")]
        await client.hincrby(key, "s", -600_000)
        keys = await client.dbsize()
        await client.config_set("maxmemory", 1)
        found = await sessions.load(session.id)
        assert found is not None
        assert found.data == {"n": 1}
        for refused in (sessions.save(session), sessions.rotate(session), sessions.create(user_id=42)):
            with pytest.raises(CommandRefused) as full:
                await refused
            assert full.value.code == "OOM"
            assert session.id[36:] not in str(full.value)
        assert await client.dbsize() == keys
        assert await sessions.revoke_all(user_id=42, except_=session) == 1
        assert await sessions.load(other.id) is None
        assert await sessions.load(session.id) is not None
        assert await sessions.revoke(session) is True
        assert await client.dbsize() == 0


async def test_a_cluster_finds_what_belongs_together_in_one_slot(own_redis: OwnRedis, patient: Wire) -> None:
    """Every step that sees two keys would be refused with CROSSSLOT otherwise; visits are spread over slots."""
    own_redis.kill()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bus = probe.getsockname()[1]
    # The port that it would take by itself may lie beyond the last one.
    own_redis.start("--cluster-enabled", "yes", "--cluster-port", str(bus))
    async with driver.from_url(own_redis.url) as opened:
        client: Any = opened
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until = time.monotonic() + PATIENCE
        while b"cluster_state:ok" not in await client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        sessions = Sessions(patient)
        visits = [await sessions.create(data={"n": number}) for number in range(20)]
        logins = [await sessions.rotate(visit, user_id=42) for visit in visits]
        rotated = [await sessions.rotate(login) for login in logins]
        await sessions.change(rotated[0], lambda data: data | {"m": 1})
        assert (await sessions.rotate(rotated[0], user_id="42")).data == {}
        assert len(await sessions.devices(user_id=42)) == 19
        assert await sessions.revoke_device(rotated[1].handle, user_id=42) is True
        assert await sessions.revoke_all(user_id=42, except_=rotated[2]) == 17
        assert await sessions.load(rotated[2].id) is not None
        assert await sessions.load(rotated[3].id) is None
        slots = set()
        for visit in visits:
            slots.add(await client.execute_command("CLUSTER", "KEYSLOT", f"tercet:session:{{{visit.id[:20]}}}"))
        assert len(slots) > 10
