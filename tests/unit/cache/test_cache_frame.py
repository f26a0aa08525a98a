"""Frames: a header that later versions can add to, and bodies that are compressed where it pays."""

from __future__ import annotations

import logging
import os
import random
import sys
import zlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tercet.cache.encoding import packing
from tercet.cache.encoding.frame import Entry, pack, unpack
from tercet.cache.encoding.packing import (
    OPENED_BYTES_MAX,
    PACKED_BYTES_MIN,
    PART_SAVED_MIN,
    Unopenable,
    opened,
    packed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

HAS_ZSTD = packing.zstd() is not None

needs_zstd = pytest.mark.skipif(not HAS_ZSTD, reason="zstandard is not installed")


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """What was found out about this process is forgotten, before and after."""
    packing.zstd.cache_clear()
    packing._tell_missing.cache_clear()
    yield
    packing.zstd.cache_clear()
    packing._tell_missing.cache_clear()


@pytest.fixture
def without_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which zstandard is not installed."""
    monkeypatch.setitem(sys.modules, "tercet.cache.encoding.zstandard", None)
    monkeypatch.delattr("tercet.cache.encoding.zstandard", raising=False)
    packing.zstd.cache_clear()


def entry_of(body: bytes) -> Entry:
    """An entry with this body."""
    return Entry(b"s", "", 1, 2, 3, 0.5, ("t",), (b"v",), "", body)


ENTRIES = st.builds(
    Entry,
    schema=st.binary(),
    key=st.text(),
    created_ms=st.integers(0, 2**53),
    fresh_ms=st.integers(0, 2**53),
    spent_ms=st.integers(0, 2**53),
    load_seconds=st.floats(allow_nan=False),
    tags=st.lists(st.text(), max_size=3).map(tuple),
    versions=st.lists(st.binary(), max_size=3).map(tuple),
    packing=st.just(""),
    body=st.binary(),
)


@given(ENTRIES)
def test_an_entry_survives_its_bytes(entry: Entry) -> None:
    """Header and body."""
    assert unpack(pack(entry)) == entry


@given(ENTRIES, st.data())
def test_a_torn_entry_is_none(entry: Entry, data: st.DataObject) -> None:
    """Cut anywhere it is no entry, and no exception."""
    frame = pack(entry)
    assert unpack(frame[: data.draw(st.integers(0, len(frame) - 1))]) is None


@given(st.binary())
def test_foreign_bytes_are_no_entry(frame: bytes) -> None:
    """Whatever lies there, it is an entry or None."""
    found = unpack(frame)
    assert found is None or isinstance(found, Entry)


def test_a_later_version_may_add_to_the_header() -> None:
    """This version reads what it knows, and the rest does not hurt."""
    entry = Entry(b"s", "", 1, 2, 3, 0.5, ("t",), (b"v",), "", b"body")
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(pack(entry)), "more", {"and": [b"more"]}])
    assert unpack(longer) == entry


@pytest.mark.parametrize("first", [1, 3, "2", None])
def test_an_entry_of_another_layout_is_none(first: object) -> None:
    """Neither an older one nor a later one is read as this one."""
    entry = Entry(b"s", "", 1, 2, 3, 0.5, ("t",), (b"v",), "", b"body")
    assert unpack(msgspec.msgpack.encode([first, *msgspec.msgpack.decode(pack(entry))[1:]])) is None


def test_an_entry_is_current_only_under_all_its_versions() -> None:
    """A version that is missing, or another one, makes it invalid."""
    entry = Entry(b"s", "", 1, 2, 3, 0.5, ("a", "b"), (b"1", b"2"), "", b"")
    assert entry.is_current({"a": b"1", "b": b"2", "c": None})
    assert not entry.is_current({"a": b"1", "b": b"3"})
    assert not entry.is_current({"a": b"1", "b": None})
    assert not entry.is_current({"a": b"1"})
    assert not Entry(b"s", "", 1, 2, 3, 0.5, ("a", "b"), (b"1",), "", b"").is_current({"a": b"1", "b": None})


@given(st.lists(st.text(), max_size=3).map(tuple), st.dictionaries(st.text(), st.none() | st.binary(), max_size=4))
def test_a_current_entry_is_one_whose_every_tag_is_as_it_was(tags: tuple[str, ...], now: dict[str, bytes]) -> None:
    """Compared with the definition in one line."""
    versions = tuple(now.get(tag) or b"gone" for tag in tags)
    entry = replace(entry_of(b""), tags=tags, versions=versions)
    expected = all(now.get(tag) == version for tag, version in zip(tags, versions, strict=True))
    assert entry.is_current(now) is expected


BODIES = st.one_of(
    st.binary(max_size=64),
    st.builds(bytes.__mul__, st.binary(min_size=1, max_size=40), st.integers(1, 400)),
    st.integers(PACKED_BYTES_MIN - 2, PACKED_BYTES_MIN + 2).map(lambda size: random.Random(size).randbytes(size)),
)


@given(BODIES)
def test_a_body_comes_back_whether_it_was_compressed_or_not(body: bytes) -> None:
    """And what is handed out is open already."""
    found = unpack(pack(entry_of(body)))
    assert found is not None
    assert found.body == body
    kept, small = packed(body)
    assert opened(kept, small) == body
    assert len(small) <= len(body)


def test_only_what_pays_is_compressed() -> None:
    """Not a small body, not a random one; a big one of text is, and by a lot."""
    text = b'{"name": "a name", "city": "a city"}, ' * 400
    assert packed(text[:PACKED_BYTES_MIN])[0] == ""
    assert packed(os.urandom(20_000))[0] == ""
    kept, small = packed(text)
    assert kept in {"zlib", "zstd"}
    assert len(small) < len(text) / 10
    assert len(pack(entry_of(text))) < len(text) / 10


def test_what_saves_less_than_a_tenth_is_left_as_it_is() -> None:
    """A body that is random but for a little at its end."""
    size = 20_000
    nearly = os.urandom(int(size * (1 - PART_SAVED_MIN / 3))) + bytes(int(size * PART_SAVED_MIN / 3))
    assert len(zlib.compress(nearly, 1)) < len(nearly)
    assert packed(nearly) == ("", nearly)


def test_what_was_unpacked_can_be_packed_again() -> None:
    """An entry in hand is open, whatever its header says of how it lay."""
    entry = entry_of(b"abc " * 4_000)
    once = unpack(pack(entry))
    assert once is not None
    assert once.packing in {"zlib", "zstd"}
    assert unpack(pack(once)) == once
    small = replace(once, body=b"x")
    assert unpack(pack(small)) == replace(small, packing="")


def test_without_zstandard_zlib_does(without_zstd: None) -> None:
    """The stdlib's own, by every process readable."""
    assert packing.zstd() is None
    kept, small = packed(b"abc " * 4_000)
    assert (kept, opened(kept, small)) == ("zlib", b"abc " * 4_000)


def test_what_only_zstandard_can_open_is_a_miss_told_once(without_zstd: None, caplog: pytest.LogCaptureFixture) -> None:
    """Another process has it: no exception, and not a line in the log for each read."""
    frame = msgspec.msgpack.encode(replace(entry_of(b"(\xb5/\xfd"), packing="zstd"))
    with caplog.at_level(logging.WARNING, "tercet.cache"):
        assert [unpack(frame) for _ in range(3)] == [None] * 3
    assert [record.message.count("tercet[compression]") for record in caplog.records] == [1]


def bomb(size: int) -> bytes:
    """Zeros, so many that a few hundred bytes each stand for a MB."""
    deflater = zlib.compressobj(9)
    parts = [deflater.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join(parts) + deflater.compress(bytes(size & 0xFFFFF)) + deflater.flush()


def test_a_bomb_is_a_miss_before_it_is_big() -> None:
    """A byte more than the bound is not an entry; the bound itself is."""
    assert len(opened("zlib", bomb(OPENED_BYTES_MAX))) == OPENED_BYTES_MAX
    forged = bomb(OPENED_BYTES_MAX + 1)
    assert len(forged) < OPENED_BYTES_MAX / 500
    with pytest.raises(Unopenable):
        opened("zlib", forged)
    assert unpack(msgspec.msgpack.encode(replace(entry_of(forged), packing="zlib"))) is None


@pytest.mark.parametrize("kind", ["zlib", "zstd", "lz4", "x" * 1_000])
@pytest.mark.parametrize("body", [b"", b"\x78", b"not compressed at all", zlib.compress(b"a" * 100)[:-3]])
def test_a_body_that_is_not_what_it_says_is_a_miss(kind: str, body: bytes) -> None:
    """Garbage, cut short, or of a later version's making."""
    with pytest.raises(Unopenable):
        opened(kind, body)
    assert unpack(msgspec.msgpack.encode(replace(entry_of(body), packing=kind))) is None


def test_bytes_behind_the_end_are_not_ignored() -> None:
    """What we have not written is not ours."""
    with pytest.raises(Unopenable):
        opened("zlib", zlib.compress(b"a" * 100) + b"more")


def test_what_is_bigger_than_can_be_opened_is_not_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written can be read."""
    monkeypatch.setattr(packing, "OPENED_BYTES_MAX", 10_000)
    assert packed(bytes(10_001)) == ("", bytes(10_001))
    assert packed(bytes(10_000))[0] != ""


@needs_zstd
def test_with_zstandard_zstd_does() -> None:
    """Smaller and faster where it is there; and entries with zlib are read as before."""
    body = b'{"name": "a name", "city": "a city"}, ' * 400
    kept, small = packed(body)
    assert (kept, opened(kept, small)) == ("zstd", body)
    assert opened("zlib", zlib.compress(body)) == body


@needs_zstd
def test_a_bomb_of_zstd_is_a_miss_before_it_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says its size, and one that says another."""
    _, honest = packed(bytes(100_000))
    assert len(honest) < 1_000
    monkeypatch.setattr(packing, "OPENED_BYTES_MAX", 99_999)
    with pytest.raises(Unopenable):
        opened("zstd", honest)
    monkeypatch.undo()
    with pytest.raises(Unopenable):
        opened("zstd", honest[:-2])
    with pytest.raises(Unopenable):
        opened("zstd", honest + b"more")


def test_a_frame_of_zstd_that_does_not_say_its_size_is_a_miss() -> None:
    """Nobody knows how much room to make for it, and we write none such."""
    zstandard = pytest.importorskip("zstandard")
    silent = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(bytes(10_000))
    with pytest.raises(Unopenable):
        opened("zstd", silent)
