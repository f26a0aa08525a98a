"""Routes: which server has which key, what a redirect means, and what to do when the servers have changed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tercet.errors import StoreError, StoreUnreachable
from tercet.wire.batch import Ask, Call, Gets
from tercet.wire.breaker import Breaker
from tercet.wire.node import Node
from tercet.wire.opening import CONNECT_SECONDS, copy_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.clock import Clock
    from tercet.telemetry import Telemetry
    from tercet.wire.port import ClusterEdge, Place, Pushed, Refusal, Word

# One command follows this many redirects: a slot that moves needs two, and more means that nobody knows.
HOPS_MAX = 6

# How long a slot that is on its way is left alone before it is asked for again.
AGAIN_SECONDS = 0.05

# The servers are asked for the slots at most this often, while a server is down or has sent us elsewhere.
DISCOVER_SECONDS = 0.5


class Hub(Protocol):
    """Whoever wants to know of pushes, new connections and breakers; the routes tell it."""

    telemetry: Telemetry

    def pushed(self, node: Node, message: Pushed) -> None:
        """A message that nobody asked for."""
        ...

    def connected(self, node: Node) -> None:
        """A new main connection stands."""
        ...

    def parted(self, node: Node) -> None:
        """A server has left the cluster."""
        ...

    def noted(self, name: str, error: StoreError | None) -> None:
        """A server is no longer asked, or again."""
        ...


class Routes:
    """The servers of one event loop, and the way of each key to its server."""

    def __init__(self, hub: Hub, edge: ClusterEdge, *, deadline: float, clock: Clock) -> None:
        self._hub, self.edge, self.telemetry = hub, edge, hub.telemetry
        self.loop = asyncio.get_running_loop()
        self._deadline, self._clock = deadline, clock
        self.nodes: dict[Place, Node] = {}
        # The node of each slot; empty until the servers have been asked, and None where there is no cluster.
        self._slots: list[Node] | None = [] if edge.clustered else None
        self._breaker = Breaker(clock)
        self._again_at = 0.0
        self._discovering: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._parting: set[asyncio.Task[None]] = set()
        self._closed: Callable[[], Exception] | None = None
        self.only = None if edge.clustered else self._node(edge.home())

    @property
    def ready(self) -> bool:
        """Whether it is known where keys are."""
        return self.only is not None or bool(self._slots)

    def node_of(self, key: Word | None) -> Node:
        """The server that has this key; any where there is none."""
        if self.only is not None:
            return self.only
        if not self._slots:
            raise RuntimeError("the slots are not known yet")
        if key is None:
            return self._slots[0]
        return self._slots[self.edge.slot_of(key if isinstance(key, bytes) else str(key).encode())]

    def primaries(self) -> tuple[Node, ...]:
        """Every server that has keys, once."""
        return (self.only,) if self.only is not None else tuple(dict.fromkeys(self._slots or ()))

    def _node(self, place: Place) -> Node:
        node = self.nodes.get(place)
        if node is None:
            slot_of = self.edge.slot_of if self.edge.clustered else None
            node = Node(
                self, self.edge, place, loop=self.loop, deadline=self._deadline, clock=self._clock, slot_of=slot_of
            )
            self.nodes[place] = node
        return node

    # ---- the slots of a cluster

    async def known(self) -> None:
        """Wait until the slots are known; raises a StoreError where nobody answers."""
        if self.ready:
            return
        if self._breaker.is_open and self.loop.time() < self._again_at:
            raise self._breaker.refusal()
        await asyncio.wait([self._discover()])
        if not self.ready:
            raise self._closed() if self._closed is not None else self._breaker.refusal()

    def _discover(self) -> asyncio.Task[None]:
        if self._discovering is None:
            self._discovering = self.loop.create_task(self._ask_for_slots(), name="tercet-wire-slots")
        return self._discovering

    async def _ask_for_slots(self) -> None:
        try:
            places = await self.edge.discover(CONNECT_SECONDS)
        except StoreError as error:
            self._breaker.trip(partial(copy_of, error))
            self._again_at = self.loop.time() + self._breaker.pause()
        else:
            self._breaker.mend()
            self._slots = [self._node(place) for place in places]
            self._part(set(places))
        finally:
            self._discovering = None
        if any(node.breaker.is_open for node in self.nodes.values()):
            self.look_again()

    def look_again(self) -> None:
        """Ask for the slots soon: something has changed, or is about to."""
        if self.edge.clustered and self._later is None and self._closed is None:
            self._later = self.loop.call_later(DISCOVER_SECONDS, self._look)

    def _look(self) -> None:
        self._later = None
        self._discover()

    def _part(self, places: set[Place]) -> None:
        """Let go of servers that have no slots any more."""
        for place in [place for place in self.nodes if place not in places]:
            address = self.edge.address(place)

            def gone(address: str = address) -> StoreUnreachable:
                return StoreUnreachable("redis", reason="it has left the cluster", address=address)

            node = self.nodes.pop(place)
            self._hub.parted(node)
            task = self.loop.create_task(node.close(gone))
            self._parting.add(task)
            task.add_done_callback(self._parting.discard)

    # ---- what a node tells

    def redirect(self, node: Node, ask: Ask, refusal: Refusal) -> bool:
        """Send this elsewhere, or later, if that is what the refusal says."""
        if self._slots is None or ask.hops >= HOPS_MAX:
            return False
        code, _, rest = str(refusal).partition(" ")
        if code not in {"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"}:
            return False
        if code == "TRYAGAIN" and isinstance(ask, Gets) and len(ask.keys) > 1:
            # Some of its keys have moved and some have not: each alone can be answered.
            return False
        ask.hops += 1
        if code in {"MOVED", "ASK"}:
            slot, _, address = rest.partition(" ")
            target = self._node(self.edge.place_at(address, seen_from=node.place))
            if code == "MOVED":
                if self._slots:
                    self._slots[int(slot)] = target
                self.look_again()
                target.main.post([ask], renew=False)
            else:
                target.main.post([Ask(self.edge.pack(("ASKING",)), self._deadline), ask], renew=False)
            return True
        self.look_again()
        self.loop.call_later(AGAIN_SECONDS * ask.hops, self._post, ask)
        return True

    def _post(self, ask: Ask) -> None:
        key = ask.keys[0] if isinstance(ask, Gets) else ask.key if isinstance(ask, Call) else None
        if ask.wanted():
            self.node_of(key).main.post([ask], renew=False)

    def pushed(self, node: Node, message: Pushed) -> None:
        """A message that nobody asked for."""
        self._hub.pushed(node, message)

    def connected(self, node: Node) -> None:
        """A new main connection stands."""
        self._hub.connected(node)

    def noted(self, name: str, error: StoreError | None) -> None:
        """A server is no longer asked: in a cluster, another one may have taken its place."""
        self._hub.noted(name, error)
        if error is not None:
            self.look_again()

    # ---- the end

    async def close(self, make: Callable[[], Exception]) -> None:
        """End all servers' connections."""
        self._closed = make
        if self._later is not None:
            self._later.cancel()
        tasks = [*self._parting]
        if self._discovering is not None:
            self._discovering.cancel()
            tasks.append(self._discovering)
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.gather(*(node.close(make) for node in self.nodes.values()))
