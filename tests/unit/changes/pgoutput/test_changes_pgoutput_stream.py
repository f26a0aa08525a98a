"""Transactions that are sent while they run: interleaved, rolled back in part, larger than memory."""

from __future__ import annotations

import errno
import itertools
from contextlib import closing
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.changes.change import Commit, Wants
from tercet.changes.pgoutput import stream
from tercet.errors import FeedBroken

INT, TEXT = 23, 25
COLUMNS = (("id", INT), ("note", TEXT))


def _ids(commits: list[Commit]) -> list[tuple[int, list[object]]]:
    return [(commit.moment.at, [change.new.get("id") for change in commit.changes]) for commit in commits]


def _block(server: Any, xid: int, *payloads: bytes, first: bool = True) -> tuple[bytes, ...]:
    return (server.stream_start(xid, first=first), *payloads, server.stream_stop())


def test_a_stream_is_told_when_it_commits_and_others_before_it(server: Any) -> None:
    """In the order of their commits, with its own moment, time and position."""
    decoder = server.decoder(protocol=2)
    described = server.relation(1, "t", COLUMNS, part=900)
    commits = server.read(
        decoder,
        *_block(server, 900, described, server.insert(1, 1, "x", part=900)),
        server.begin(901),
        server.relation(1, "t", COLUMNS),
        server.insert(1, 2, "y"),
        server.commit(end=120),
        *_block(server, 900, server.insert(1, 3, "z", part=900), first=False),
    )
    assert _ids(commits) == [(901, [2])]
    assert decoder.position == 120
    [commit] = server.read(decoder, server.stream_commit(900, lsn=130, end=160, at=5))
    assert _ids([commit]) == [(900, [1, 3])]
    assert (commit.position, commit.at.microsecond, commit.last, decoder.position) == (160, 5, True, 160)


def test_what_was_rolled_back_is_not_told(server: Any) -> None:
    """A subtransaction, and a whole transaction."""
    decoder = server.decoder(protocol=2)
    described = server.relation(1, "t", COLUMNS, part=901)
    commits = server.read(
        decoder,
        *_block(server, 900, server.message("p", b"top", part=900), described, server.insert(1, 1, "x", part=901)),
        server.stream_abort(900, 901),
        *_block(server, 900, server.insert(1, 2, "y", part=902), server.message("p", b"sub", part=902), first=False),
        *_block(server, 910, described, server.insert(1, 3, "x", part=910)),
        server.stream_abort(910, 910),
        server.stream_abort(999, 999),
        server.stream_abort(999, 1000),
        server.stream_commit(900),
    )
    assert _ids(commits) == [(900, [2])]
    assert [message.content for message in commits[0].messages] == [b"top", b"sub"]


def test_what_nobody_wants_is_not_kept(server: Any, files: list[IO[bytes]]) -> None:
    """A large load into another table costs neither memory nor a file."""
    decoder = server.decoder(Wants({"t": None}, prefixes=("p",)), protocol=2, memory=10_000)
    described = (server.relation(1, "t", COLUMNS, part=900), server.relation(2, "u", COLUMNS, part=900))
    rows = [server.insert(2, number, "x" * 100, part=900) for number in range(1000)]
    said = (server.message("q", bytes(20_000), part=900), server.insert(1, 5, "x", part=900))
    server.read(decoder, *_block(server, 900, *described, *rows, *said))
    assert files == []
    assert _ids(server.read(decoder, server.stream_commit(900))) == [(900, [5])]


def test_a_stream_of_which_nothing_is_wanted_only_moves_the_position(server: Any) -> None:
    """As any other transaction."""
    decoder = server.decoder(Wants({"t": None}), protocol=2)
    described = server.relation(2, "u", COLUMNS, part=900)
    payloads = (*_block(server, 900, described, server.insert(2, 1, "x", part=900)), server.stream_commit(900, end=170))
    assert server.read(decoder, *payloads) == []
    assert decoder.position == 170


def test_a_table_described_in_a_stream_is_so_for_others_only_once_it_commits(server: Any) -> None:
    """Until then they know the table as it was; afterwards PostgreSQL does not describe it again."""
    decoder = server.decoder(protocol=2)
    wider = (("id", INT), ("more", INT), ("note", TEXT))
    plain = (server.begin(901), server.insert(1, 2, "y"), server.commit())
    server.read(decoder, server.begin(800), server.relation(1, "t", COLUMNS), server.commit())
    server.read(
        decoder,
        *_block(server, 900, server.relation(1, "t", wider, part=900), server.insert(1, 1, 7, "x", part=900)),
    )
    assert _ids(server.read(decoder, *plain)) == [(901, [2])]
    [commit] = server.read(decoder, server.stream_commit(900))
    assert commit.changes[0].new == {"id": 1, "more": 7, "note": "x"}
    later = server.read(decoder, server.begin(902), server.insert(1, 3, 8, "z"), server.commit())
    assert later[0].changes[0].new == {"id": 3, "more": 8, "note": "z"}


def test_a_table_described_again_since_stays_so_when_the_stream_commits(server: Any) -> None:
    """The newest description holds, and a stream's is as old as when it was sent."""
    decoder = server.decoder(protocol=2)
    fewer = (("id", INT),)
    server.read(
        decoder,
        *_block(server, 900, server.relation(1, "t", COLUMNS, part=900), server.insert(1, 1, "x", part=900)),
        server.begin(901),
        server.relation(1, "t", fewer),
        server.insert(1, 2),
        server.commit(),
    )
    assert _ids(server.read(decoder, server.stream_commit(900))) == [(900, [1])]
    assert _ids(server.read(decoder, server.begin(902), server.insert(1, 3), server.commit())) == [(902, [3])]


def test_types_told_in_a_stream_are_known_to_all(server: Any) -> None:
    """A domain over a number, told in a subtransaction that was rolled back."""
    decoder = server.decoder(protocol=2)
    columns = (("id", 9001),)
    commits = server.read(
        decoder,
        *_block(
            server,
            900,
            server.type(9001, "int4", schema="", part=901),
            server.relation(1, "t", columns, part=901),
            server.insert(1, 5, part=901),
        ),
        server.stream_abort(900, 901),
        *_block(server, 900, server.insert(1, 6, part=900), first=False),
        server.stream_commit(900),
    )
    assert _ids(commits) == [(900, [6])]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[IO[bytes]]:
    """The files that were made."""
    made: list[IO[bytes]] = []

    def make(**options: Any) -> IO[bytes]:
        made.append(TemporaryFile(**options))  # noqa: SIM115 - the stream closes it, which is what is looked at
        return made[-1]

    monkeypatch.setattr(stream, "TemporaryFile", make)
    return made


def test_what_is_more_than_memory_holds_goes_to_a_file_and_comes_back_in_parts(
    server: Any, files: list[IO[bytes]]
) -> None:
    """The largest goes first; its file is gone once it was read."""
    decoder = server.decoder(protocol=2, memory=20_000, part=100)
    for xid in (900, 910):
        server.read(decoder, *_block(server, xid, server.relation(1, "t", COLUMNS, part=xid)))
    for number in range(250):
        server.read(
            decoder,
            *_block(server, 900, server.insert(1, number, "x" * 100, part=900), first=False),
            *_block(server, 910, *[server.insert(1, -number, "x", part=910)] * (number % 8 == 0), first=False),
        )
    [file] = files
    commits = server.read(decoder, server.stream_commit(900, lsn=130, end=160))
    assert [number for _, ids in _ids(commits) for number in ids] == list(range(250))
    assert [(len(commit.changes), commit.last, commit.position) for commit in commits] == [
        (100, False, 130),
        (100, False, 130),
        (50, True, 160),
    ]
    assert file.closed
    [other] = server.read(decoder, server.stream_commit(910), server.begin(1000), server.commit())[-1:]
    assert [change.new["id"] for change in other.changes] == list(range(0, -250, -8))


def test_a_decoder_that_is_closed_keeps_no_file(server: Any, files: list[IO[bytes]]) -> None:
    """Twice is fine."""
    decoder = server.decoder(protocol=2, memory=0)
    server.read(decoder, *_block(server, 900, server.relation(1, "t", COLUMNS, part=900)))
    decoder.close()
    decoder.close()
    assert [file.closed for file in files] == [True]


def test_a_stream_that_begins_again_is_told_once(server: Any) -> None:
    """The log is read again from an earlier place: by each call, through SQL."""
    decoder = server.decoder(protocol=2)
    described = server.relation(1, "t", COLUMNS, part=900)
    again = _block(server, 900, described, server.insert(1, 1, "x", part=900))
    commits = server.read(decoder, *again, *again, server.stream_commit(900))
    assert _ids(commits) == [(900, [1])]


def test_a_full_disk_is_a_fault_of_the_feed(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what the system says."""

    def full(**_options: str) -> IO[bytes]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stream, "TemporaryFile", full)
    with pytest.raises(FeedBroken, match="too large to be kept: No space left on device"):
        server.read(
            server.decoder(protocol=2, memory=0),
            *_block(server, 900, server.relation(1, "t", COLUMNS, part=900)),
        )


def test_protocol_4_tells_more_of_an_abort(server: Any) -> None:
    """Where it was asked for; in 2 that is a fault."""
    payloads = _block(server, 900, server.relation(1, "t", COLUMNS, part=900))
    abort = server.stream_abort(900, 900, more=bytes(16))
    four, two = server.decoder(protocol=4), server.decoder(protocol=2)
    assert server.read(four, *payloads, abort, *payloads, server.stream_abort(900, 900)) == []
    with pytest.raises(FeedBroken, match="16 bytes that protocol 2 does not know"):
        server.read(two, *payloads, abort)


def test_what_does_not_belong_there_is_a_fault(server: Any) -> None:
    """A stream within a stream, more of one that is not known, and a commit of one."""
    for payloads in (
        (server.stream_start(900, first=True), server.stream_start(901, first=True)),
        (server.stream_start(900, first=True), server.begin(901)),
        (server.stream_start(900, first=False),),
        (server.stream_stop(),),
        (server.stream_commit(900),),
    ):
        with pytest.raises(FeedBroken):
            server.read(server.decoder(protocol=2), *payloads)


def test_what_is_cut_off_within_a_stream_is_a_fault(server: Any) -> None:
    """At once, or when it is read."""
    described = server.relation(1, "t", COLUMNS, part=900)
    for whole in (described, server.insert(1, 1, "x", part=900), server.truncate(1, part=900)):
        for length in range(len(whole)):
            with pytest.raises(FeedBroken):
                server.read(
                    server.decoder(protocol=2),
                    *_block(server, 900, described, whole[:length]),
                    server.stream_commit(900),
                )


@dataclass
class _Running:
    """A transaction that still runs: what its parts have said, in order, and which parts may be rolled back."""

    rows: list[tuple[int, int]] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    described: bool = False


class _Model:
    """A server with several transactions: what it sends, and what has been committed in the end."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.running: dict[int, _Running] = {}
        self.committed: list[tuple[int, int]] = []
        self._ids = itertools.count(900)
        self._rows = itertools.count()

    def plain(self, _which: int, _part: int) -> tuple[bytes, ...]:
        """A transaction that was not streamed."""
        xid, row = next(self._ids), next(self._rows)
        self.committed.append((xid, row))
        described = self.server.relation(1, "t", COLUMNS)
        return (self.server.begin(xid), described, self.server.insert(1, row, "x"), self.server.commit())

    def block(self, which: int, part: int) -> tuple[bytes, ...]:
        """More of a transaction, or a new one; from it, from a part of it, or from a new part."""
        first = which >= len(self.running)
        xid = next(self._ids) if first else list(self.running)[which]
        running = self.running.setdefault(xid, _Running())
        if part >= len(running.parts):
            running.parts.append(next(self._ids))
        says = xid if part == 0 else running.parts[min(part, len(running.parts) - 1)]
        row = next(self._rows)
        running.rows.append((says, row))
        described = () if running.described else (self.server.relation(1, "t", COLUMNS, part=says),)
        running.described = True
        return _block(self.server, xid, *described, self.server.insert(1, row, "x", part=says), first=first)

    def undo(self, which: int, _part: int) -> tuple[bytes, ...]:
        """A savepoint is rolled back; PostgreSQL describes its tables again then."""
        for xid in itertools.islice(self.running, which, which + 1):
            running = self.running[xid]
            if running.parts:
                part = running.parts.pop()
                running.rows = [said for said in running.rows if said[0] != part]
                running.described = False
                return (self.server.stream_abort(xid, part),)
        return ()

    def end(self, which: int, part: int) -> tuple[bytes, ...]:
        """A transaction is over: rolled back, or committed more often."""
        for xid in list(itertools.islice(self.running, which, which + 1)):
            rows = self.running.pop(xid).rows
            if part == 0:
                return (self.server.stream_abort(xid, xid),)
            self.committed += [(xid, row) for _, row in rows]
            return (self.server.stream_commit(xid),)
        return ()


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["block", "block", "block", "undo", "end", "plain"]), st.integers(0, 3), st.integers(0, 3)
    ),
    max_size=40,
)


@given(_STEPS, st.sampled_from([0, 600, 1 << 20]))
def test_interleaved_streams_tell_what_a_simple_model_tells(
    server: Any, steps: list[tuple[str, int, int]], memory: int
) -> None:
    """Blocks of several transactions, savepoints rolled back, commits and aborts in any order, in any memory."""
    model = _Model(server)
    with closing(server.decoder(protocol=2, memory=memory, part=3)) as decoder:
        told = [
            (commit.moment.at, change.new["id"])
            for step, which, part in steps
            for commit in server.read(decoder, *getattr(model, step)(which, part))
            for change in commit.changes
        ]
    assert told == model.committed
