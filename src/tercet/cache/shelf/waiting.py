"""Waiting for somebody else's load: a push wakes, and a look every now and then is the safety beneath it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from tercet.cache.shelf.layout import written
from tercet.errors import CommandRefused, StoreError
from tercet.wire import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tercet.cache.shelf.layout import Layout
    from tercet.cache.shelf.port import Drop
    from tercet.wire import Reply, Wire

# The first look; then each pause is longer by a part of itself, so a death is seen after about a quarter more
# time than was waited anyway, up to the longest pause.
LOOK_SECONDS_MIN = 0.025
LOOK_SECONDS_MAX = 0.25
LOOK_GROWTH = 1.25

_RELEASE = Script.beside(__file__, "release")


class Waiting:
    """Who waits here for which entry; nothing is listened to before somebody does."""

    def __init__(self, wire: Wire, layout: Layout) -> None:
        self._wire = wire
        self._layout = layout
        self._events: dict[bytes, set[asyncio.Event]] = {}
        self._listening: asyncio.Task[None] | None = None
        # What is ended in the background: somebody must hold on to it.
        self._forsaken: set[asyncio.Future[bool]] = set()
        # False once the server has refused to say whether a connection lives.
        self._may_ask = True

    async def wait(self, name: str, holder: bytes, seconds: float) -> None:
        """Return when it is over, whatever way, or after so long."""
        woken = asyncio.Event()
        under = written(name)
        self._events.setdefault(under, set()).add(woken)
        try:
            async with asyncio.timeout(seconds):
                await self._wait(name, holder, woken)
        except TimeoutError:
            pass
        except StoreError:
            # Nobody can be waited for through a server that is not there; who asks next is told so.
            pass
        finally:
            left = self._events[under]
            left.discard(woken)
            if not left:
                del self._events[under]

    async def release(self, name: str, token: bytes) -> bool:
        """End the lease that has this token, and wake who waits for it."""
        keys = [self._layout.lease(name)]
        return bool(await self._wire.run(_RELEASE, keys, [token, self._layout.filled, written(name)]))

    def forsake(self, name: str, token: bytes) -> None:
        """End such a lease if there is one, without waiting for it: whoever asked for it has gone."""
        ended = asyncio.ensure_future(self.release(name, token))
        self._forsaken.add(ended)
        ended.add_done_callback(self._forsook)

    def _forsook(self, ended: asyncio.Future[bool]) -> None:
        self._forsaken.discard(ended)
        if not ended.cancelled():
            # Where it did not arrive, the lease runs out.
            ended.exception()

    def dropped(self, drop: Drop | None) -> None:
        """A drop takes leases away without a word on the channel: who waits for one of those is woken."""
        if drop is None or drop.everything or drop.patterns:
            self._wake_all()
        else:
            for name in drop.names:
                self._wake(written(name))

    async def close(self) -> None:
        """Listen no more; what is ended in the background has ended."""
        here = asyncio.get_running_loop()
        ending = [one for one in self._forsaken if one.get_loop() is here]
        if ending:
            await asyncio.wait(ending)
        listening, self._listening = self._listening, None
        if listening is None or listening.get_loop() is not here:
            return
        listening.cancel()
        await asyncio.wait([listening])
        if not listening.cancelled() and listening.exception() is None:
            # Where nobody is there to be told, nobody is listening either.
            with suppress(StoreError):
                await self._wire.unlisten(self._layout.filled, self._hear)

    async def _wait(self, name: str, holder: bytes, woken: asyncio.Event) -> None:
        await self._listen()
        pause = LOOK_SECONDS_MIN
        # The first look comes at once: it may have ended before we listened.
        while not await self._is_over(name, holder):
            try:
                async with asyncio.timeout(pause):
                    await woken.wait()
            except TimeoutError:
                pause = min(pause * LOOK_GROWTH, LOOK_SECONDS_MAX)
            else:
                return

    async def _listen(self) -> None:
        """Listen in this loop, or wait until somebody who began to does; without it, looks must do."""
        loop = asyncio.get_running_loop()
        one = self._listening
        if one is None or one.get_loop() is not loop or (one.done() and (one.cancelled() or one.exception())):
            one = self._listening = loop.create_task(self._begin(), name="tercet-shelf-listen")
        if not one.done():
            # Shielded: it is everybody's, and goes on when one of them leaves.
            await asyncio.wait([one])
        if not one.cancelled():
            # Looked at, so that nobody is told of it as of something that was overlooked.
            one.exception()

    async def _begin(self) -> None:
        await self._wire.listen(self._layout.filled, self._hear)

    def _hear(self, message: bytes | None) -> None:
        if message is None:
            self._wake_all()
        else:
            self._wake(message)

    def _wake(self, under: bytes) -> None:
        for woken in self._events.get(under, ()):
            woken.set()

    def _wake_all(self) -> None:
        for under in self._events:
            self._wake(under)

    async def _is_over(self, name: str, holder: bytes) -> bool:
        """Whether the lease is gone or somebody else's; one of the dead is ended here."""
        client, _, token = holder.partition(b":")
        key = self._layout.lease(name)
        asked: list[Awaitable[Reply]] = [self._wire.call("HGET", key, "token", key=key)]
        if client and self._may_ask:
            asked.append(self._wire.call("CLIENT", "LIST", "ID", client, key=key))
        found, *lives = await asyncio.gather(*asked, return_exceptions=True)
        if isinstance(found, BaseException):
            raise found
        if found != token:
            return True
        for listed in lives:
            if isinstance(listed, CommandRefused):
                # Where it is not permitted, leases of the dead must run out by themselves.
                self._may_ask = listed.code != "NOPERM"
            elif isinstance(listed, BaseException):
                raise listed
            elif b"id=" + client not in listed:
                await self.release(name, token)
                return True
        return False
