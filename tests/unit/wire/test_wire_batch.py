"""What the GETs of a tick become: each key asked once, in chunks, and to each caller its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import StoreUnreachable
from tercet.wire.batch import NEVER, Call, Gets, gets
from tercet.wire.port import Word

KEYS = st.lists(st.binary(max_size=2), min_size=1, max_size=40)


def _pack(words: Sequence[Word]) -> bytes:
    return b"|".join(word if isinstance(word, bytes) else str(word).encode() for word in words)


def _gone() -> StoreUnreachable:
    return StoreUnreachable("redis", reason="it has gone")


async def _answered(keys: list[bytes], chunk: int, cancelled: set[int]) -> None:
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in keys]
    asks = list(gets(keys, futures, pack=_pack, deadline=1.0, chunk=chunk))
    for number in cancelled:
        futures[number].cancel()
    asked = [key for ask in asks for key in ask.keys]
    assert sorted(asked) == sorted(set(keys))
    assert sum(ask.size for ask in asks) == len(keys)
    for ask in asks:
        assert len(ask.keys) <= chunk
        assert ask.payload == _pack((b"MGET", *ask.keys))
        ask.answer([b"value of " + key for key in ask.keys])
    for number, (key, future) in enumerate(zip(keys, futures, strict=True)):
        if number in cancelled:
            assert future.cancelled()
        else:
            assert future.result() == b"value of " + key


@given(keys=KEYS, chunk=st.integers(1, 8), cancelled=st.sets(st.integers(0, 39)))
def test_every_caller_gets_the_value_of_its_own_key(keys: list[bytes], chunk: int, cancelled: set[int]) -> None:
    """However many ask for the same, however they are cut into chunks, whoever has gone away meanwhile."""
    asyncio.run(_answered(keys, chunk, {number for number in cancelled if number < len(keys)}))


@given(keys=KEYS, chunk=st.integers(1, 8))
def test_a_failure_reaches_every_caller_as_an_error_of_its_own(keys: list[bytes], chunk: int) -> None:
    """Nobody shares an exception, and nobody is forgotten."""

    async def run() -> None:
        futures = [asyncio.get_running_loop().create_future() for _ in keys]
        for ask in gets(keys, futures, pack=_pack, deadline=1.0, chunk=chunk):
            ask.due = 5.0
            ask.fail(_gone)
            assert ask.due == NEVER
            assert not ask.wanted()
        assert len({id(future.exception()) for future in futures}) == len(keys)

    asyncio.run(run())


@given(keys=KEYS)
def test_a_split_asks_the_same_one_key_at_a_time(keys: list[bytes]) -> None:
    """What was refused as a whole is asked again so that each key is refused, or answered, alone."""

    async def run() -> None:
        futures = [asyncio.get_running_loop().create_future() for _ in keys]
        (ask,) = gets(keys, futures, pack=_pack, deadline=1.0)
        parts: list[Gets] = ask.split(_pack)
        assert [part.keys for part in parts] == [(key,) for key in dict.fromkeys(keys)]
        for part in parts:
            part.answer([part.keys[0] * 2])
        assert [future.result() for future in futures] == [key * 2 for key in keys]

    asyncio.run(run())


async def test_a_call_is_answered_once_and_unwanted_when_cancelled() -> None:
    """A late answer or failure of one that is over is passed over."""
    call = Call(b"PING", 1.0, asyncio.get_running_loop().create_future())
    assert call.wanted()
    call.answer(b"PONG")
    call.answer(b"late")
    call.fail(_gone)
    assert not call.wanted()
    assert await call.future == b"PONG"
