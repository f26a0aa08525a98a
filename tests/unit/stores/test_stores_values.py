"""Budgets, places, gates and errors of two kinds: the stores' values, without a server."""

from __future__ import annotations

import asyncio
import errno
import pickle
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.clock import StoppedClock
from tercet.errors import BudgetExceeded, DeadlinePassed, NotOpen, StoreUnreachable, TercetError
from tercet.stores.both import both, why
from tercet.stores.budget import BESIDE, MOST, plan
from tercet.stores.holders import Holders, here, shown
from tercet.stores.lane import Gate
from tercet.stores.postgres_probe import read_dsn

STORES = st.sampled_from(["postgres", "mongo", "redis"])


@given(STORES, st.integers(1, 100_000), st.integers(0, 20), st.integers(1, 500), st.none() | st.integers(1, 500))
def test_a_budget_fits_into_the_server_or_is_refused(
    store: Any, limit: int, reserved: int, instances: int, explicit: int | None
) -> None:
    """Whatever is granted fits with all instances; an explicit size is granted as it is or not at all."""
    available = max(0, limit - reserved)
    fits = ((explicit or 1) + BESIDE[store]) * instances <= available
    if not fits:
        with pytest.raises(BudgetExceeded) as caught:
            plan(store, limit=limit, reserved=reserved, instances=instances, explicit=explicit)
        assert (caught.value.instances, caught.value.available) == (instances, available)
        return
    budget = plan(store, limit=limit, reserved=reserved, instances=instances, explicit=explicit)
    assert budget.wanted <= available
    assert budget.size == explicit or (explicit is None and 1 <= budget.size <= MOST[store])


def test_a_computed_size_leaves_room_for_those_who_look_after_the_server() -> None:
    """100 connections less 3 reserved, four instances: (97 − 5) // 4 − 1 = 22, and no more than 20."""
    sizes = [
        plan("postgres", limit=100, reserved=3, instances=instances, explicit=None).size
        for instances in (1, 4, 8, 40, 48)
    ]
    assert sizes == [20, 20, 10, 1, 1]
    assert plan("postgres", limit=None, reserved=0, instances=9, explicit=None).size == MOST["postgres"]


def test_a_budget_shows_its_arithmetic() -> None:
    """A value for people: what, from what, and how."""
    budget = plan("postgres", limit=100, reserved=3, instances=4, explicit=12)
    assert str(budget) == "postgres: 12 connections (as set); (12 + 1) × 4 = 52 of 97 (100 − 3 reserved)"


def test_a_refused_budget_says_what_would_fit() -> None:
    """Two sentences: the arithmetic, and the mend with its number."""
    with pytest.raises(BudgetExceeded) as caught:
        plan("postgres", limit=100, reserved=3, instances=5, explicit=30)
    assert str(caught.value) == (
        "5 instances with their pools need 155 postgres connections, and the server has 97 to give. "
        "The server's limit is 100, 3 of them reserved; an instance has a pool of 30 and 1 beside it: "
        "(30 + 1) × 5 = 155. Set postgres_pool_size to 18 or less, run fewer instances, "
        "raise max_connections, or put PgBouncer in between (postgres_pooler=True)."
    )


def test_the_longest_holder_is_named_with_its_time() -> None:
    """The one that took a connection first and has not given it back."""
    clock = StoppedClock()
    holders: Holders[str] = Holders(clock.monotonic)
    assert holders.longest() == (None, None)
    holders.take("a", ("/srv/shop/orders.py", 88))
    clock.advance(41)
    holders.take("b", ("/srv/shop/carts.py", 5))
    assert holders.longest() == ("shop/orders.py:88", 41.0)
    holders.give("a")
    holders.give("a")
    assert (holders.longest(), len(holders), holders.things()) == (("shop/carts.py:5", 0.0), 1, ("b",))


async def test_a_holder_without_a_place_in_the_program_is_named_by_its_task() -> None:
    """A task made straight of a driver's coroutine has no frame of the program in it."""
    source = "async def ask(here):\n    return here()\n"
    space: dict[str, Any] = {"__name__": "sqlalchemy.engine"}
    exec(compile(source, "engine.py", "exec"), space)  # noqa: S102 - a frame of a library
    task = asyncio.create_task(space["ask"](here), name="Task-7")
    assert shown(await task) == "Task-7 (ask)"
    line = sys._getframe().f_lineno + 1
    place = here()
    assert shown(place) == f"stores/test_stores_values.py:{line}"


class DriverError(Exception):
    """An error of a driver, with a fact of its own."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text, code)
        self.code = code
        self.live = object()


def test_an_error_of_both_kinds_is_caught_as_either() -> None:
    """It says what tercet says, knows what the driver knows, and keeps both through a pickle."""
    theirs = DriverError("lost postgres:// connection", 7)
    error = both(StoreUnreachable("redis", reason="the connection was lost", address="h:1"), theirs)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    for one in (error, again):
        assert isinstance(one, StoreUnreachable)
        assert issubclass(type(one), DriverError)
        facts = (one.store, one.reason, one.retryable, vars(one)["code"], str(one))
        assert facts[:4] == ("redis", "the connection was lost", True, 7)
        assert facts[4].startswith("redis at h:1 does not answer: the connection was lost. It is used again")
    assert type(error) is type(again)


def test_an_operating_system_error_keeps_its_number() -> None:
    """errno is outside of the dictionary, and whoever catches OSError looks at it."""
    theirs = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    error: Any = both(StoreUnreachable("postgres", reason=why(theirs)), theirs)
    assert (error.errno, error.strerror, error.reason) == (
        errno.ECONNREFUSED,
        "refused",
        "the connection is refused",
    )
    assert isinstance(error, ConnectionRefusedError)


def test_tercets_own_error_is_not_doubled() -> None:
    """Passing two places that translate leaves one error."""
    ours = DeadlinePassed("mongo", what="an operation", deadline=1)
    assert both(ours, StoreUnreachable("mongo", reason="x")) is ours
    assert both(ours, asyncio.CancelledError()) is ours


def test_why_ends_on_causes_that_go_in_circles() -> None:
    """An error that is its own cause's cause is no endless loop."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert why(one) == "the connection was lost"


async def test_a_gate_lets_nobody_pass_before_and_after() -> None:
    """New, open, closed; only open passes."""
    gate = Gate("This Tercet")
    with pytest.raises(NotOpen, match="is not open yet"):
        gate.check()
    gate.open()
    gate.check()
    gate.close()
    with pytest.raises(NotOpen, match="has been closed"):
        gate.check()


@pytest.mark.parametrize(
    ("text", "made", "tls"),
    [
        ("postgres://u:p@h:5/d", "postgresql://u:p@h:5/d", None),
        ("postgresql+asyncpg://h/d?sslmode=require", "postgresql://h/d", "require"),
        ("postgresql://h/d?ssl=require&connect_timeout=3&keepalives=1", "postgresql://h/d", "require"),
        ("postgresql://a:1,b:2/d?krbsrvname=x", "postgresql://a:1,b:2/d?krbsrvname=x", None),
        ("postgresql:///d?host=/run/postgresql", "postgresql:///d?host=%2Frun%2Fpostgresql", None),
        ("postgres://h/d?sslmode=prefer&sslrootcert=/ca", "postgresql://h/d?sslrootcert=%2Fca", "prefer"),
    ],
)  # fmt: skip
def test_addresses_as_libpq_and_sqlalchemy_know_them_are_understood(text: str, made: str, tls: str | None) -> None:
    """What only libpq knows is taken out before the server would refuse it."""
    read = read_dsn(text, tls=None, tls_ca=None)
    assert (read.dsn, read.tls) == (made, tls)


def test_verification_without_an_authority_uses_the_machines_own() -> None:
    """verify-full checks the name too, verify-ca does not."""
    checks = []
    for mode in ("verify-ca", "verify-full"):
        context = read_dsn("postgresql://h/d", tls=mode, tls_ca=None).tls
        checks.append((mode, getattr(context, "check_hostname", None)))
    assert checks == [("verify-ca", False), ("verify-full", True)]
    assert "p" * 5 not in repr(read_dsn("postgresql://u:ppppp@h/d", tls=None, tls_ca=None))


def test_every_joint_error_is_a_tercet_error() -> None:
    """The family stays whole."""
    assert issubclass(type(both(NotOpen("x", closed=True), ValueError("y"))), TercetError)
