"""A lock's name in Redis, and how long a lease may be believed in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.clock import StoppedClock
from tercet.errors import SettingInvalid
from tercet.locks.lease import MARGIN, RENEW_AT, Lease, Moment, checked_count, checked_ttl, checked_wait
from tercet.locks.name import LockName, checked_namespace, holder_of, new_process, wish

KINDS = ("lock", "read_write", "semaphore")


def hash_tag(key: bytes) -> bytes:
    """What a cluster makes the slot of: what stands in the first braces, or all where they are empty."""
    begin = key.find(b"{")
    end = key.find(b"}", begin + 1)
    return key[begin + 1 : end] if 0 <= begin < end - 1 else key


@given(st.text(), st.sampled_from(KINDS))
def test_all_keys_of_one_lock_lie_in_one_slot(text: str, kind: str) -> None:
    """Whatever its name is made of, braces and nothing at all included."""
    name = LockName.of("tercet", kind, text)  # type: ignore[arg-type]  # a literal out of the tuple above
    assert len({hash_tag(key) for key in name.keys}) == 1
    assert len(set(name.keys)) == 4
    assert all(key.startswith(b"tercet:lock:{") for key in name.keys)
    assert max(map(len, name.keys)) < 260


@given(st.text(), st.text(), st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_two_locks_never_share_a_key(one: str, other: str, kind: str, other_kind: str) -> None:
    """Names and kinds keep them apart."""
    names = [LockName.of("tercet", kind, one), LockName.of("tercet", other_kind, other)]  # type: ignore[arg-type]  # as above
    shared = set(names[0].keys) & set(names[1].keys)
    assert bool(shared) == ((one, kind) == (other, other_kind))


def test_a_long_name_is_stored_by_its_digest() -> None:
    """A key stays short, and two long names stay two."""
    one, other = LockName.of("tercet", "lock", "a" * 10_000), LockName.of("tercet", "lock", "a" * 10_001)
    assert max(map(len, one.keys)) < 120
    assert not set(one.keys) & set(other.keys)
    # The digest as a name of its own is another lock.
    digest = one.keys[0].partition(b"#")[2].partition(b"}")[0].decode()
    assert LockName.of("tercet", "lock", digest).keys != one.keys


def test_a_name_that_is_no_text_is_refused() -> None:
    """A number would be the same lock as its text, or another one: nobody could tell."""
    with pytest.raises(SettingInvalid, match="A lock sets its name to 42"):
        LockName.of("tercet", "lock", 42)  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize("namespace", ["", "a b", "a:b", "{a}", "x" * 65])
def test_a_namespace_that_no_key_can_begin_with_is_refused(namespace: str) -> None:
    """Braces in it would decide the slot."""
    with pytest.raises(SettingInvalid):
        checked_namespace(namespace)


def test_no_two_processes_have_one_name() -> None:
    """Nor has one process the same name twice: after a fork, or in another event loop."""
    assert len({new_process() for _ in range(100)}) == 100


def test_a_holder_is_named_by_its_process_and_host() -> None:
    """As far as it can be read at all."""
    assert holder_of(wish("x", 0, 10.0, "web-3/4711/ab12", 7)) == "process 4711 on web-3"
    assert holder_of(b"something else") == "somebody"


def test_a_lease_is_over_before_redis_lets_it_end() -> None:
    """The margin is a share of the ttl, and renewal begins long before."""
    clock = StoppedClock()
    lease = Lease(Moment.now(clock), 10.0)
    assert lease.remaining(Moment.now(clock)) == pytest.approx(10.0 * (1 - MARGIN))
    assert lease.renew_in(Moment.now(clock)) == pytest.approx(10.0 * RENEW_AT)
    clock.advance(9.0)
    assert lease.remaining(Moment.now(clock)) <= 0


def test_a_lease_runs_on_while_the_machine_is_suspended() -> None:
    """The monotonic clock stands still then; the wall clock does not, and the longer time counts."""
    since = Moment(monotonic=100.0, wall=datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    woken = Moment(monotonic=100.5, wall=since.wall + 3600)
    assert Lease(since, 10.0).remaining(woken) < 0
    set_back = Moment(monotonic=109.5, wall=since.wall - 3600)
    assert Lease(since, 10.0).remaining(set_back) < 0


@pytest.mark.parametrize("ttl", ["0s", 0.05, "8d", "soon", -1, True])
def test_a_ttl_that_cannot_be_held_is_refused(ttl: str | float) -> None:
    """The error names the lock and what would do."""
    with pytest.raises(SettingInvalid, match="The lock 'a' sets ttl to"):
        checked_ttl(ttl, "The lock 'a'")


def test_times_are_written_as_people_write_them() -> None:
    """Texts with units, or seconds."""
    assert checked_ttl("10s", "x") == checked_ttl(10, "x") == 10.0
    assert checked_wait("250ms", "x") == 0.25
    assert checked_wait(0, "x") == 0.0
    with pytest.raises(SettingInvalid, match="wait"):
        checked_wait("never", "x")


@pytest.mark.parametrize("count", [0, -1, 2.0, True, 100_001])
def test_a_number_of_permits_is_a_whole_number_from_one(count: int) -> None:
    """A semaphore that nobody can hold, or everybody, is a mistake."""
    with pytest.raises(SettingInvalid, match="permits"):
        checked_count(count, 1, 100_000, "permits", "The semaphore 'a'")
