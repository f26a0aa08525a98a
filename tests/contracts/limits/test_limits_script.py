"""The script and the rule: the same calls at the same moments get the same answers, to a microsecond's last part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tercet.limits import Rate, counter
from tercet.limits.gcra import drained, fits, weight

# A moment of this century, in microseconds; and what a script may still count exactly.
START_US = 1_790_000_000_000_000
EXACT = 1 << 53

# Counts that do not divide their periods, and the extremes of both.
rates = st.one_of(
    st.builds(
        Rate,
        count=st.integers(1, 2_000),
        period_us=st.one_of(st.integers(1, 5_000), st.integers(1_000_000, 86_400_000_000)),
        burst=st.integers(1, 3_000),
    ),
    st.just(Rate(1_000_000_000, 604_800_000_000, 1_000_000_000)),
    st.just(Rate(999_999_937, 31_536_000_000_000, 999_999_937)),
    st.just(Rate(1, 86_400_000_000, 3_650)),
)


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Rate], list[tuple[int, tuple[int, ...]]]]:
    """A limit's rates, and calls: how many microseconds later, and the amounts to try; none is a look."""
    limit = draw(st.lists(rates, min_size=1, max_size=3))
    most = min(rate.burst for rate in limit)
    slow = max(rate.period_us // rate.count for rate in limit)
    amounts = st.lists(st.one_of(st.integers(1, most), st.integers(1, min(most, 3))), max_size=2).map(
        lambda found: tuple(sorted(found, reverse=True))
    )
    # Backwards too: a server's clock may be set.
    gaps = st.one_of(st.integers(0, 3), st.integers(0, 2 * slow), st.integers(-2 * slow, 0), st.just(10**13))
    return limit, draw(st.lists(st.tuples(gaps, amounts), min_size=1, max_size=12))


class Rule:
    """What a key has used, by gcra.py alone."""

    def __init__(self, limit: list[Rate]) -> None:
        self.limit = limit
        # The moments at which nothing will be used, in parts since the start.
        self.until = [0] * len(limit)

    def call(self, now_us: int, amounts: tuple[int, ...]) -> list[int]:
        """The reply that the script should give."""
        passed = now_us - START_US
        levels = [drained(rate, until, passed) for rate, until in zip(self.limit, self.until, strict=True)]
        cut = any(until - passed * rate.count > rate.window for rate, until in zip(self.limit, self.until, strict=True))
        got = 0
        for number, amount in enumerate(amounts, 1):
            if all(fits(rate, level, amount) for rate, level in zip(self.limit, levels, strict=True)):
                levels = [level + amount * rate.period_us for rate, level in zip(self.limit, levels, strict=True)]
                got = number
                break
        # A look keeps nothing, and a refusal only that a level was above the burst.
        if got or (cut and amounts):
            self.until = [level + passed * rate.count for rate, level in zip(self.limit, levels, strict=True)]
        pairs = (divmod(level, rate.count) for rate, level in zip(self.limit, levels, strict=True))
        return [got, *(number for pair in pairs for number in pair)]


class Server:
    """The script on a real server, with a clock that is handed in beside the key."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        text = counter._TAKE.text
        stopped = text.replace("redis.call('TIME')", "{ KEYS[2], KEYS[3] }")
        # The moments handed in pass faster or more slowly than the server's own, by which it expires keys.
        stopped = stopped.replace("local SPARE_MS = 1\n", "local SPARE_MS = 3600000\n")
        assert stopped.count("KEYS[2]") == 1
        assert stopped.count("3600000") == 1
        self._script = self.client.register_script(stopped)

    def call(self, key: str, limit: list[Rate], now_us: int, amounts: tuple[int, ...]) -> list[int]:
        """The reply that the script gives."""
        words = [len(amounts)]
        for rate in limit:
            words += (rate.count, *weight(rate, rate.burst))
            for amount in amounts:
                words += weight(rate, amount)
        clock = map(str, divmod(now_us, 1_000_000))
        reply: Any = self._script(keys=[key, *clock], args=words)
        return [int(number) for number in reply]


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    """A server with nothing in it."""
    made = Server(redis_url)
    yield made
    made.client.close()


def test_the_script_says_what_the_rule_says(server: Server) -> None:
    """Every number of every reply, for several rates, several amounts, looks, and a clock that is set back."""

    @settings(max_examples=150)
    @given(runs())
    def same(run: tuple[list[Rate], list[tuple[int, tuple[int, ...]]]]) -> None:
        limit, calls = run
        server.client.flushdb()
        rule, now_us = Rule(limit), START_US
        for gap, amounts in calls:
            # Nothing was used before the start, which is what no key at all says.
            now_us = max(now_us + gap, START_US)
            assert server.call("k", limit, now_us, amounts) == rule.call(now_us, amounts)
            assert now_us < EXACT

    same()


def test_what_is_kept_is_short_and_has_an_expiry(server: Server) -> None:
    """One moment a rate, whatever was called; and nothing stays without an end."""
    limit = [Rate(7, 1_000_000, 7), Rate(999_999_937, 31_536_000_000_000, 999_999_937)]
    lengths = set()
    for call in range(40):
        server.call("k", limit, START_US + call, (1,))
        kept: Any = server.client.get("k")
        lengths.add(len(kept))
        assert server.client.ttl("k") > 0
    assert max(lengths) <= 2 * (16 + 1 + 10) + 1


def test_a_look_writes_nothing(server: Server) -> None:
    """Not even where nothing is kept yet, nor where what is kept is above the burst."""
    limit = [Rate(10, 1_000_000, 10)]
    assert server.call("k", limit, START_US, ()) == [0, 0, 0]
    assert server.client.exists("k") == 0
    server.client.set("k", str(START_US + 10**12))
    assert server.call("k", limit, START_US, ()) == [0, 1_000_000, 0]
    assert server.client.get("k") == str(START_US + 10**12).encode()


def test_a_level_above_the_burst_is_cut_and_kept_so_also_by_a_refusal(server: Server) -> None:
    """After a smaller burst was deployed, or a clock was set back by a day: nobody waits longer than for a burst."""
    limit = [Rate(10, 1_000_000, 10)]
    server.client.set("k", str(START_US + 86_400_000_000))
    assert server.call("k", limit, START_US, (1,)) == [0, 1_000_000, 0]
    assert server.call("k", limit, START_US + 99_999, (1,)) == [0, 900_001, 0]
    assert server.call("k", limit, START_US + 100_000, (1,)) == [1, 1_000_000, 0]


@pytest.mark.parametrize("above", ["1000000+3", "1000001", "1000001+3"])
def test_a_level_above_the_burst_by_next_to_nothing_is_cut_too(server: Server, above: str) -> None:
    """By parts of a microsecond, or by one."""
    us, _, parts = above.partition("+")
    server.client.set("k", f"{START_US + int(us)}" + (f"+{parts}" if parts else ""))
    assert server.call("k", [Rate(7, 1_000_000, 7)], START_US, ()) == [0, 1_000_000, 0]


@pytest.mark.parametrize("kept", ["", "nothing of ours", "-5", "+3", "nan"])
def test_a_value_that_is_no_moment_counts_as_nothing_used(server: Server, kept: str) -> None:
    """It is written over, with an expiry."""
    server.client.set("k", kept)
    assert server.call("k", [Rate(10, 1_000_000, 10)], START_US, (4,)) == [1, 400_000, 0]
    assert server.client.ttl("k") > 0


def test_parts_of_another_count_are_rounded_up(server: Server) -> None:
    """A count that changed in a deploy gives nothing away: at most a microsecond more is used."""
    server.client.set("k", f"{START_US + 500}+6")
    assert server.call("k", [Rate(5, 1_000_000, 5)], START_US, ()) == [0, 501, 0]
    assert server.call("k", [Rate(7, 1_000_000, 7)], START_US, ()) == [0, 500, 6]


def test_a_rate_that_came_new_to_a_limit_begins_with_nothing_used(server: Server) -> None:
    """And what is kept beyond the rates is passed over."""
    two = [Rate(10, 1_000_000, 10), Rate(100, 60_000_000, 100)]
    server.call("k", two[:1], START_US, (3,))
    assert server.call("k", two, START_US, (1,)) == [1, 400_000, 0, 600_000, 0]
    assert server.call("k", two[:1], START_US, (1,)) == [1, 500_000, 0]
