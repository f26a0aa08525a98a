"""What the flow of starting asks of each kind of server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from tercet.servers.folder import Site
    from tercet.telemetry.event import Store

Source = Literal["path", "wheel"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where a server's program may lie, and which kind of place it is ("PATH", a wheel's name)."""

    path: Path
    source: str
    # Set when the program needs shared libraries that may have to be borrowed.
    borrows: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A server's program that runs here: where it lies, its version, and what it needs in its environment."""

    store: Store
    path: Path
    version: tuple[int, ...]
    source: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def version_text(self) -> str:
        """The version as its makers write it."""
        return ".".join(map(str, self.version))


# Runs a program to its end, as the same user as the server will be, in its log; returns the exit code.
Run = Callable[[Sequence[str]], Awaitable[int]]
Progress = Callable[[str], None]


class Server(Protocol):
    """One kind of server: how it is found, prepared, started, asked, addressed and stopped."""

    @property
    def store(self) -> Store:
        """The store that it serves."""
        ...

    @property
    def stop_signal(self) -> int:
        """The signal that makes it end cleanly and at once."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The first words of the command lines of its processes."""
        ...

    @property
    def refuses_root(self) -> bool:
        """Whether it refuses to run as root."""
        ...

    @property
    def oldest(self) -> tuple[int, ...]:
        """The oldest version that tercet works with."""
        ...

    @property
    def mend(self) -> str:
        """What to do when no program is found."""
        ...

    def candidates(self, sources: Sequence[Source], environ: Mapping[str, str], /) -> Iterator[Candidate]:
        """The places where its program may lie, the best first."""
        ...

    def suits(self, program: Program, site: Site, /) -> str | None:
        """Why this program cannot serve the data that is there already; None when it can."""
        ...

    async def prepare(self, site: Site, program: Program, run: Run, progress: Progress, /) -> None:
        """Make the data folder complete, or leave none; what a killed run left half done is done anew."""
        ...

    def command(self, site: Site, program: Program, port: int, /) -> tuple[str, ...]:
        """The program and its arguments."""
        ...

    async def pending(self, site: Site, port: int, pid: int, /) -> str | None:
        """What the server with this process number is still busy with; None when it works completely.

        A stranger that answers on that port does not count.
        """
        ...

    async def complete(self, port: int, /) -> None:
        """Tell it what only a running server can be told (its replica set); safe to repeat."""
        ...

    def url(self, port: int, /) -> str:
        """Its address for programs."""
        ...

    def pid_claimed(self, site: Site, /) -> int | None:
        """The process that the server's own files name as using the data; None when none does."""
        ...

    def clear(self, site: Site, /) -> None:
        """Remove what a dead server left that would keep a new one from starting."""
        ...
