"""Channels: who listens to which, and that a lost connection does not pass unnoticed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from tercet.errors import NotOpen
from tercet.wire.batch import NEVER, Call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.wire.node import Node
    from tercet.wire.port import Edge, Pushed, Reply

    Hear = Callable[[bytes | None], None]

_log = logging.getLogger("tercet.wire")


class Channels:
    """The listeners of each channel, whatever becomes of the connections."""

    def __init__(self) -> None:
        self._ears: dict[bytes, list[Hear]] = {}
        # The channels that a server has confirmed, and which it was: there they are subscribed to again.
        self._confirmed: dict[bytes, Node] = {}

    async def listen(self, node: Node, channel: bytes, hear: Hear, deadline: float) -> None:
        """Subscribe, and return when the server has confirmed it."""
        node = self._confirmed.get(channel, node)
        self._ears.setdefault(channel, []).append(hear)
        try:
            await _ask(node, "SUBSCRIBE", channel, deadline)
        except BaseException:
            self._without(channel, hear)
            raise
        self._confirmed.setdefault(channel, node)

    async def unlisten(self, node: Node, channel: bytes, hear: Hear, deadline: float) -> None:
        """Leave; the channel is given up when nobody listens any more."""
        if hear not in self._ears.get(channel, ()):
            return
        node = self._confirmed.get(channel, node)
        self._without(channel, hear)
        if channel not in self._ears and node.main.line is not None:
            await _ask(node, "UNSUBSCRIBE", channel, deadline)

    def _without(self, channel: bytes, hear: Hear) -> None:
        ears = self._ears.get(channel, [])
        if hear in ears:
            ears.remove(hear)
        if not ears:
            self._ears.pop(channel, None)
            self._confirmed.pop(channel, None)

    def move(self, node: Node, node_of: Callable[[bytes], Node]) -> None:
        """This server has left: its channels are heard from another one."""
        left = [channel for channel, at in self._confirmed.items() if at is node]
        self._confirmed |= {channel: node_of(channel) for channel in left}
        for target in {self._confirmed[channel] for channel in left}:
            if target.main.line is not None:
                self.again(target)
            else:
                target.main.wake()

    def again(self, node: Node) -> None:
        """Subscribe on this server's connection to what is heard from it, and tell the listeners of the gap."""
        channels = [channel for channel, at in self._confirmed.items() if at is node]
        if channels:
            ask = Subscribe(node.edge, "SUBSCRIBE", channels, NEVER)
            ask.future.add_done_callback(lambda done: self._resubscribed(channels, done))
            node.main.post([ask])

    def _resubscribed(self, channels: Sequence[bytes], done: asyncio.Future[Reply]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, NotOpen):
            _log.warning("channels could not be subscribed to again: %s", error)
        for channel in channels:
            self._tell(channel, None)

    def pushed(self, message: Pushed) -> None:
        """A message goes to the listeners of its channel."""
        if message[0] == b"message":
            self._tell(message[1], message[2])

    def _tell(self, channel: bytes, data: bytes | None) -> None:
        for hear in tuple(self._ears.get(channel, ())):
            guarded(hear, data)


def guarded(told: Callable[..., None], *facts: bytes | None) -> None:
    """Tell a listener; one that raises is logged, and goes on being told."""
    try:
        told(*facts)
    except Exception:  # noqa: BLE001 - whatever it is, it is the listener's fault, and it is logged
        _log.exception("a listener of the wire failed")


async def _ask(node: Node, command: str, channel: bytes, deadline: float) -> None:
    ask = Subscribe(node.edge, command, (channel,), deadline)
    node.main.put(ask)
    await ask.future


class Subscribe(Call):
    """SUBSCRIBE and HELLO: the first is confirmed by pushes and refused by an error, the second always answers."""

    __slots__ = ("_error",)

    def __init__(self, edge: Edge, command: str, channels: Sequence[bytes], deadline: float) -> None:
        payload = edge.pack((command, *channels)) + edge.pack(("HELLO", 3))
        super().__init__(payload, deadline, asyncio.get_running_loop().create_future())
        self._error: Callable[[], Exception] | None = None

    def refuse(self, make: Callable[[], Exception]) -> bool:
        """The first was refused; HELLO is still to answer."""
        if self._error is not None:
            return False
        self._error = make
        return True

    def answer(self, reply: Reply) -> None:
        """HELLO has answered, so it is decided."""
        if self._error is None:
            super().answer(reply)
        else:
            self.fail(self._error)
