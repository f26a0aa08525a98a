"""Sessions against a model: several clients in any order, with stale sessions and old ids, and time that passes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as driver
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from tercet.clock import SystemClock
from tercet.errors import SessionConflict, SessionGone
from tercet.sessions import Session, Sessions
from tercet.telemetry import Telemetry
from tercet.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE_SECONDS = 30.0

# Time passes in steps of 100 s, and every limit lies where the seconds that a run itself takes change nothing:
# at a whole step, which real time only ever makes later, or half way between two.
STEP = 100
IDLE = 10 * STEP
ABSOLUTE = 30 * STEP
GRACE = 150
TOUCH = STEP

USERS = (None, 42, "42")
EXAMPLES, STEPS = 25, 40


@dataclass(eq=False)
class Known:
    """What the model knows of a session."""

    user: int | str | None
    data: int
    born: int
    seen: int
    id: str
    version: int = 1
    alive: bool = True
    # Former ids, and until when they lead here.
    former: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class Held:
    """A session in the hands of a request, as old as it may be; and what the model calls it."""

    session: Session[Any]
    known: Known


class Machine(RuleBasedStateMachine):
    """Two clients on one server, and the model."""

    url = ""
    store_of: Callable[[Any], Any]
    replayed: Any = "refuse"

    held: Bundle[Held] = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.all: list[Known] = []
        self.runner = asyncio.Runner()
        self.client: Any = driver.from_url(self.url)
        self.wires = [
            Wire.at(self.url, deadline=DEADLINE_SECONDS, clock=SystemClock(), telemetry=Telemetry()) for _ in range(2)
        ]
        self.clients: list[Sessions[dict[str, Any]]] = [
            Sessions(wire, idle=IDLE, absolute=ABSOLUTE, grace=GRACE, replayed=self.replayed) for wire in self.wires
        ]
        self.run(self.client.flushall())

    def run(self, work: Any) -> Any:
        """Wait for it in this machine's loop."""

        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    def teardown(self) -> None:
        for wire in self.wires:
            self.run(wire.close())
        self.run(self.client.aclose())
        self.runner.close()

    def state(self, token: str, known: Known) -> str:
        """How an id should be found now, and what finding it does."""
        if self.now >= min(known.seen + IDLE, known.born + ABSOLUTE):
            known.alive = False
        if not known.alive:
            return "none"
        if token == known.id:
            return "live"
        until = known.former.get(token)
        if until is None:
            return "none"
        if self.now < until:
            return "former"
        if self.replayed == "revoke":
            known.alive = False
        return "none"

    def add(self, session: Session[Any], user: int | str | None, data: int) -> Held:
        """A session that was just made."""
        known = Known(user, data, self.now, self.now, session.id)
        self.all.append(known)
        return Held(session, known)

    def refused(self, work: Any, error: type[Exception]) -> None:
        """This must end with this error."""
        with pytest.raises(error):
            self.run(work)

    @rule(target=held, by=st.integers(0, 1), user=st.sampled_from(USERS), data=st.integers(0, 9))
    def create(self, by: int, user: int | str | None, data: int) -> Held:
        """A visit or a login."""
        return self.add(self.run(self.clients[by].create(user_id=user, data={"n": data})), user, data)

    @rule(target=held, by=st.integers(0, 1), one=held)
    def load(self, by: int, one: Held) -> Any:
        """A request with an id that was handed out at some time."""
        state = self.state(one.session.id, one.known)
        session = self.run(self.clients[by].load(one.session.id))
        if state == "none":
            assert session is None
            return multiple()
        assert (session.user_id, session.data["n"], session.version, session.former) == (
            one.known.user,
            one.known.data,
            one.known.version,
            state == "former",
        )
        if self.now - one.known.seen >= TOUCH:
            one.known.seen = self.now
        return Held(session, one.known)

    @rule(by=st.integers(0, 1), one=held, data=st.integers(0, 9))
    def save(self, by: int, one: Held, data: int) -> None:
        """A request that writes, perhaps late."""
        work = self.clients[by].update(one.session, {"n": data})
        if self.state(one.session.id, one.known) == "none":
            self.refused(work, SessionGone)
        elif one.session.version != one.known.version:
            self.refused(work, SessionConflict)
        else:
            self.run(work)
            one.known.data, one.known.seen = data, self.now
            one.known.version += 1
            assert one.session.version == one.known.version

    @rule(target=held, by=st.integers(0, 1), one=held, at_once=st.booleans())
    def rotate(self, by: int, one: Held, at_once: bool) -> Any:
        """A request that renews the id."""
        known, state = one.known, self.state(one.session.id, one.known)
        work = self.clients[by].rotate(one.session, at_once=at_once)
        if state == "none":
            self.refused(work, SessionGone)
            return multiple()
        session = self.run(work)
        assert session.former is (state == "former")
        if state == "live":
            assert session.id not in (known.id, *known.former)
            known.former[known.id] = self.now if at_once else self.now + GRACE
            known.former = dict(list(known.former.items())[-8:])
            known.id, known.seen = session.id, self.now
        return Held(session, known)

    @rule(target=held, by=st.integers(0, 1), one=held, user=st.sampled_from(USERS[1:]))
    def login(self, by: int, one: Held, user: int | str) -> Any:
        """A visitor, the same user or another one logs in."""
        known, state = one.known, self.state(one.session.id, one.known)
        work = self.clients[by].rotate(one.session, user_id=user)
        same = known.user == user and type(known.user) is type(user)
        if state == "none" or (state == "former" and same):
            self.refused(work, SessionGone if state == "none" else SessionConflict)
            return multiple()
        session = self.run(work)
        if same:
            known.former, known.id = {}, session.id
            known.born = known.seen = self.now
            return Held(session, known)
        known.alive = False
        made = self.add(session, user, known.data if known.user is None else -1)
        if known.user is not None:
            assert session.data == {}
            # So that each session has a number, as the model knows them.
            self.run(self.clients[by].update(session, {"n": -1}))
            made.known.version += 1
        return made

    @rule(by=st.integers(0, 1), one=held)
    def revoke(self, by: int, one: Held) -> None:
        """Somebody logs out."""
        before = one.known.alive
        state = self.state(one.session.id, one.known)
        replayed = state == "none" and before and not one.known.alive and one.session.id in one.known.former
        expired = self.now >= min(one.known.seen + IDLE, one.known.born + ABSOLUTE)
        assert self.run(self.clients[by].revoke(one.session)) is (state != "none" or (replayed and not expired))
        if state != "none":
            one.known.alive = False

    @rule(by=st.integers(0, 1), one=held)
    def revoke_device(self, by: int, one: Held) -> None:
        """A user ends a session out of the list."""
        if one.known.user is not None:
            alive = self.state(one.known.id, one.known) == "live"
            work = self.clients[by].revoke_device(one.session.handle, user_id=one.known.user)
            assert self.run(work) is alive
            one.known.alive = False

    @rule(by=st.integers(0, 1), user=st.sampled_from(USERS[1:]), one=held, but=st.booleans())
    def revoke_all(self, by: int, user: int | str, one: Held, but: bool) -> None:
        """A user logs out everywhere, or everywhere else."""
        keep = one if but and one.known.user == user and type(one.known.user) is type(user) else None
        ended = [known for known in self.of(user) if keep is None or known is not keep.known]
        work = self.clients[by].revoke_all(user_id=user, except_=None if keep is None else keep.session)
        assert self.run(work) == len(ended)
        for known in ended:
            known.alive = False

    @rule(steps=st.sampled_from([1, 1, 2, 5, 9, 10]))
    def time_passes(self, steps: int) -> None:
        """For everything in Redis, and for the model."""
        self.now += steps * STEP
        self.run(self.store_of(self.client).later(steps * STEP))

    def of(self, user: int | str | None) -> list[Known]:
        """The sessions of this user that are alive."""
        mine = [known for known in self.all if known.user == user and type(known.user) is type(user)]
        return [known for known in mine if self.state(known.id, known) == "live"]

    @invariant()
    def each_user_s_list_is_what_the_model_knows(self) -> None:
        """No session is missing, and none is there that has ended."""
        for user in USERS[1:]:
            listed = self.run(self.clients[0].devices(user_id=user))
            assert {one.handle for one in listed} == {known.id[20:36] for known in self.of(user)}


@pytest.mark.parametrize("replayed", ["refuse", "revoke"])
def test_sessions_do_what_a_model_of_them_does(redis_url: str, store_of: Callable[[Any], Any], replayed: str) -> None:
    """In every order of steps, whichever client takes them, however old what it holds."""
    machine = type("Machine", (Machine,), {"url": redis_url, "replayed": replayed, "store_of": staticmethod(store_of)})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
    )
