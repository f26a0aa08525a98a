"""The memory tier: within its bounds whatever happens, and tags dropped at the cost of one."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tercet.cache.memory import RECENT_MAX, SHARE_OF_ONE, SLOT_BYTES, Memory, Slot, Times
from tercet.clock import StoppedClock

NAMES = st.sampled_from("abcdefgh")
TAGS = st.sampled_from("xyz")
BYTES_MAX = 16 * SLOT_BYTES


def kept(memory: Memory, name: str, value: object = 1, *, size: int = 10, until: float = 100.0) -> None:
    """Put a value of some size."""
    memory.put(name, schema=b"s", value=value, body=None, size=size, times=Times(until))


def value_of(memory: Memory, name: str) -> object:
    """What is there, or None."""
    slot = memory.find(name)
    return None if slot is None else slot.value


class Steps(RuleBasedStateMachine):
    """Memory against a dict that forgets nothing: it may have less, and never anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = StoppedClock()
        self.memory = Memory(self.clock.monotonic, entries_max=5, bytes_max=BYTES_MAX)
        self.index: dict[object, Slot] = {}
        self.model: dict[str, tuple[object, float, tuple[str, ...]]] = {}
        self.number = 0

    @rule(
        name=NAMES,
        tags=st.sets(TAGS).map(tuple),
        size=st.integers(0, 2 * SLOT_BYTES),
        lives=st.integers(-1, 9),
    )
    def put(self, name: str, tags: tuple[str, ...], size: int, lives: int) -> None:
        """A new value, in place of what was there."""
        self.number += 1
        until = self.clock.monotonic() + lives
        self.memory.put(
            name,
            schema=b"s",
            value=self.number,
            body=None,
            size=size,
            times=Times(until),
            tags=tags,
            index=self.index,
            raw=(str, name),
        )
        self.model[name] = (self.number, until, tags)

    @rule(name=NAMES)
    def drop(self, name: str) -> None:
        """One entry."""
        self.memory.drop([name])
        self.model.pop(name, None)

    @rule(tag=TAGS)
    def drop_tag(self, tag: str) -> None:
        """Whatever carries it."""
        self.memory.drop_tags([tag])
        self.model = {name: one for name, one in self.model.items() if tag not in one[2]}

    @rule(name=NAMES, tags=st.sets(TAGS).map(tuple), dropped=NAMES, tag=TAGS)
    def late(self, name: str, tags: tuple[str, ...], dropped: str, tag: str) -> None:
        """Whoever began before a drop is told of it, if it was theirs, and of no other."""
        mark = self.memory.mark
        assert not self.memory.dropped_since(mark, name, tags)
        self.drop(dropped)
        assert self.memory.dropped_since(mark, name, tags) is (name == dropped)
        self.drop_tag(tag)
        assert self.memory.dropped_since(mark, name, tags) is (name == dropped or tag in tags)

    @rule(by=st.integers(1, 5))
    def wait(self, by: int) -> None:
        """Time goes on."""
        self.clock.advance(by)

    @rule()
    def clear(self) -> None:
        """Everything, also what is under way."""
        mark = self.memory.mark
        self.memory.clear()
        self.model.clear()
        assert self.memory.dropped_since(mark, "a", ())

    @rule(letters=st.sets(NAMES))
    def drop_some(self, letters: set[str]) -> None:
        """Those that match; whatever is under way may be one of them."""
        mark = self.memory.mark
        self.memory.drop_where(letters.__contains__)
        self.model = {name: one for name, one in self.model.items() if name not in letters}
        assert self.memory.dropped_since(mark, "a", ())

    @invariant()
    def never_more_than_was_put(self) -> None:
        """What is found is what was put last, not yet ended and not dropped."""
        for name in "abcdefgh":
            slot = self.memory.find(name)
            if slot is not None:
                value, until, _ = self.model[name]
                assert (slot.value, self.clock.monotonic() < until) == (value, True)

    @invariant()
    def within_its_bounds(self) -> None:
        """Entries, bytes, and an index that knows nothing more."""
        assert len(self.memory) <= 5
        assert 0 <= self.memory.size_bytes <= BYTES_MAX
        assert len(self.index) <= len(self.memory)
        assert all(value_of(self.memory, slot.name) == slot.value for slot in tuple(self.index.values()))
        assert (len(self.memory) == 0) is (self.memory.size_bytes == 0)


TestSteps = Steps.TestCase
TestSteps.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_what_is_looked_at_outlives_what_is_not() -> None:
    """SIEVE: the entries that somebody asked for stay, and a scan of others sweeps only itself out."""
    memory = Memory(StoppedClock().monotonic, entries_max=4)
    for name in "abcd":
        kept(memory, name)
    memory.find("a")
    memory.find("c")
    for number in range(10):
        kept(memory, f"scan {number}")
    assert [name for name in "abcd" if memory.find(name)] == ["a", "c"]


def test_an_entry_ends_at_its_time() -> None:
    """By the clock that was handed in, and not a moment later."""
    clock = StoppedClock()
    memory = Memory(clock.monotonic)
    kept(memory, "a", until=5.0)
    clock.advance(4.999)
    assert value_of(memory, "a") == 1
    clock.advance(0.001)
    assert value_of(memory, "a") is None
    assert (len(memory), memory.size_bytes) == (0, 0)


def test_one_value_cannot_take_the_whole_memory() -> None:
    """It is not kept, and what was under its name is gone."""
    memory = Memory(StoppedClock().monotonic, bytes_max=SHARE_OF_ONE * 10_000)
    kept(memory, "a", size=100)
    kept(memory, "b", size=100)
    kept(memory, "a", size=10_000)
    assert (value_of(memory, "a"), value_of(memory, "b")) == (None, 1)


def test_a_memory_of_no_entries_keeps_nothing() -> None:
    """Zero is a bound like others."""
    memory = Memory(StoppedClock().monotonic, entries_max=0)
    kept(memory, "a")
    assert len(memory) == 0


def test_a_stale_entry_is_found_until_it_is_spent() -> None:
    """It answers nobody by itself, and is there for whoever may show it."""
    clock = StoppedClock()
    memory = Memory(clock.monotonic)
    memory.put("a", schema=b"s", value=1, body=None, size=1, times=Times(5.0, fresh=5.0, spent=8.0))
    clock.advance(7.9)
    assert value_of(memory, "a") == 1
    clock.advance(0.1)
    assert (value_of(memory, "a"), len(memory)) == (None, 0)


def tagged(memory: Memory, name: str, *tags: str) -> None:
    """Put a value that depends on something."""
    memory.put(name, schema=b"s", value=name, body=None, size=1, times=Times(1.0), tags=tags)


def test_a_dropped_tag_is_forgotten_when_nobody_carries_it() -> None:
    """Tags cost nothing of their own, however many there have been."""
    memory = Memory(StoppedClock().monotonic)
    for number in range(1_000):
        tagged(memory, "a", f"tag {number}")
    assert len(memory._cells) == 1
    memory.drop_tags(["tag 999", "never seen"])
    assert (value_of(memory, "a"), len(memory._cells)) == (None, 0)


def test_a_drop_of_a_tag_does_not_touch_others() -> None:
    """They are looked at once more and stay."""
    memory = Memory(StoppedClock().monotonic)
    tagged(memory, "a", "a")
    tagged(memory, "b", "b")
    memory.drop_tags(["a"])
    assert (value_of(memory, "a"), value_of(memory, "b")) == (None, "b")


def test_what_began_before_all_known_drops_counts_as_dropped() -> None:
    """The list of drops is bounded, and errs on the side of a load."""
    memory = Memory(StoppedClock().monotonic)
    before = memory.mark
    memory.drop(["first"])
    after = memory.mark
    memory.drop(str(number) for number in range(RECENT_MAX - 1))
    assert not memory.dropped_since(before, "mine", ())
    memory.drop(["one more"])
    assert memory.dropped_since(before, "mine", ())
    assert not memory.dropped_since(after, "mine", ())
