"""What the wire asks of the driver, and the words that its files share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tercet.errors import SettingInvalid

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable, Sequence

# One word of a command.
Word: TypeAlias = bytes | str | int | float

# What a server answers: bytes, int, float, bool, None, and lists, sets and dicts of them.
Reply: TypeAlias = Any

# Where a server is, as the driver knows it; only the edge looks inside.
Place: TypeAlias = "Hashable"


# What cannot end or open a part of a key, a hash tag or a glob.
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}", re.ASCII)

# Redis before 7 puts what a command in a script was refused for behind words of its own, and has none of its own
# for one that is not permitted.
_IN_SCRIPT = re.compile(
    r"ERR Error running script .*@user_script: ?\d+: "
    r"(?:-?(?P<code>[A-Z]{2,}) (?P<reason>)|(?P<denied>)The user executing the script can't)"
)


class Refusal(Exception):
    """An error that the server has answered, as it came."""

    @property
    def code(self) -> str:
        """Its first word: ERR, NOPERM, MOVED and the like; of a command inside a script, that command's."""
        return self._parts()[0]

    @property
    def reason(self) -> str:
        """What comes after it."""
        return self._parts()[1]

    def _parts(self) -> tuple[str, str]:
        text = str(self)
        inside = _IN_SCRIPT.match(text)
        if inside is None:
            code, _, reason = text.partition(" ")
            return code, reason
        return inside["code"] or "NOPERM", text[max(inside.start("reason"), inside.start("denied")) :]


def checked_name(text: object, what: str, *, where: str) -> str:
    """The text, if every room's keys can begin with it or have it between colons; SettingInvalid if not."""
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise SettingInvalid(what, where=where, shown=repr(text), wanted="1 to 64 letters, digits, '_', '-' or '.'")
    return text


class Pushed(Protocol):
    """A message that the server sends without having been asked: its kind, then what belongs to it."""

    def __getitem__(self, index: int, /) -> Any:
        """One of its parts."""
        ...

    def __len__(self) -> int:
        """How many parts it has."""
        ...


class Reader(Protocol):
    """Bytes in, replies out."""

    def feed(self, buffer: memoryview, offset: int, length: int, /) -> None:
        """Take what has come."""
        ...

    def gets(self) -> Reply:
        """The next whole reply, or the edge's `nothing`."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection that has been let in; `keep` is what must live as long as it does."""

    transport: asyncio.Transport
    keep: object


class Edge(Protocol):
    """The driver: it opens connections, packs commands, reads replies, and knows which server has which key."""

    # The class of pushed messages, and what a reader gives when no whole reply is there.
    pushed: type[Any]
    nothing: object

    def pack(self, words: Sequence[Word]) -> bytes:
        """One command as bytes; raises CommandInvalid for a word that has no form there."""
        ...

    def shares(self, words: Sequence[Word]) -> bool:
        """Whether a command may go on a connection that others use too."""
        ...

    def reader(self) -> Reader:
        """A reader for one connection."""
        ...

    def address(self, place: Place) -> str:
        """Where this place is, for people, without secrets."""
        ...

    def suits(self, hello: dict[bytes, Any]) -> bool:
        """Whether the server that greets us so is the one that was meant."""
        ...

    async def open(self, place: Place, protocol: asyncio.BufferedProtocol, seconds: float) -> Opened:
        """Connect, be let in, and hand the transport over to this protocol; raises a StoreError."""
        ...


class ClusterEdge(Edge, Protocol):
    """An edge that also knows how keys are spread over servers."""

    clustered: bool

    def home(self) -> Place:
        """The one server of a client that is no cluster."""
        ...

    def slot_of(self, key: bytes) -> int:
        """The slot in which a key lies."""
        ...

    def place_at(self, address: str, *, seen_from: Place) -> Place:
        """The server that a redirect names; without a host, it is the one of who sent it."""
        ...

    async def discover(self, seconds: float) -> list[Place]:
        """The primary of each slot; raises a StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class NodeState:
    """One server as the wire sees it: what waits, what was sent, how often it failed."""

    address: str
    connected: bool
    breaker_open: bool
    breaker_opened: int
    in_flight: int
    connections: int
    writes: int
    commands: int

    @property
    def batch(self) -> float:
        """How many commands have left in one write, on average."""
        return self.commands / self.writes if self.writes else 0.0


@dataclass(frozen=True, slots=True)
class WireState:
    """All servers that a wire has spoken with."""

    nodes: tuple[NodeState, ...]

    @property
    def breaker_open(self) -> bool:
        """Whether a server is not asked at present."""
        return any(node.breaker_open for node in self.nodes)
