"""A line is opened: the driver connects and is let in, then the server greets and is known."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from tercet.errors import StoreError, StoreUnreachable
from tercet.wire.batch import Call
from tercet.wire.line import Line

if TYPE_CHECKING:
    from tercet.wire.line import Owner
    from tercet.wire.port import Edge, Place

# What a connection and its greeting may take: a loaded server far away needs some hundred milliseconds.
CONNECT_SECONDS = 2.0


class Server(Protocol):
    """Where a line leads to, and who can open one."""

    edge: Edge
    place: Place


async def open_line(owner: Owner, host: Server, seconds: float) -> Line:
    """A line that has been let in and greeted; raises a StoreError."""
    edge, line = host.edge, Line(owner, host.edge)
    address = edge.address(host.place)
    hello: Call = Call(edge.pack(("HELLO", 3)), seconds, asyncio.get_running_loop().create_future())
    try:
        async with asyncio.timeout(seconds):
            line.take(await edge.open(host.place, line, seconds))
            line.send([hello])
            await asyncio.wait([hello.future, line.gone], return_when=asyncio.FIRST_COMPLETED)
        line.client_id = _greeted(edge, hello, address)
    except BaseException as error:
        line.abort()
        if isinstance(error, TimeoutError):
            raise StoreUnreachable("redis", reason="no connection was made in time", address=address) from error
        raise
    return line


def _greeted(edge: Edge, hello: Call, address: str) -> int:
    """The number that the server has given us, if it is the one that was meant."""
    if not hello.future.done():
        raise StoreUnreachable("redis", reason="the connection was lost", address=address)
    greeting = hello.future.result()
    if not edge.suits(greeting):
        raise StoreUnreachable("redis", reason="it is not the primary any more", address=address)
    return int(greeting.get(b"id", 0))


async def close_line(line: Line) -> None:
    """End a line, and wait until its transport has let go of the socket."""
    line.abort()
    await asyncio.wait([line.gone], timeout=CONNECT_SECONDS)


def copy_of(error: StoreError) -> StoreError:
    """The same error for another caller: a raised one carries its traceback."""
    kind, (cls, args, fields) = error.__reduce__()
    made: StoreError = kind(cls, args, dict(fields))
    return made
