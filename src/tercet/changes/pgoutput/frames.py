"""The frames that a replication connection carries around the messages of pgoutput."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.changes.pgoutput.counts import instant, microseconds_of
from tercet.changes.pgoutput.message import broken, kind_text

if TYPE_CHECKING:
    from datetime import datetime

# The first byte of a frame.
XLOG_DATA = 0x77  # w
KEEPALIVE = 0x6B  # k

# Where the message begins in an XLogData frame: after its kind, where it starts, the log's end, and the server's time.
XLOG_HEADER = 25

_KEEPALIVE = struct.Struct(">BQqB")
_XLOG = struct.Struct(">BQQq")
_STATUS = struct.Struct(">BQQQqB")
_STATUS_KIND = 0x72  # r


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The server says that it is there, how far its log goes, and whether it wants to hear from us at once."""

    end: int
    at: datetime
    answer: bool


def keepalive(frame: bytes) -> Keepalive:
    """What a keepalive frame says; raises FeedBroken."""
    try:
        kind, end, at, answer = _KEEPALIVE.unpack(frame)
    except struct.error as fault:
        raise broken(f"a keepalive of {len(frame)} bytes") from fault
    if kind != KEEPALIVE:
        raise broken(f"a frame of the kind {kind_text(kind)} where a keepalive was due")
    return Keepalive(end, instant(at), bool(answer))


def xlog_end(frame: bytes) -> int:
    """How far the server's log went when it sent this XLogData frame; raises FeedBroken."""
    try:
        end: int = _XLOG.unpack_from(frame)[2]
    except struct.error as fault:
        raise broken(f"a frame of {len(frame)} bytes") from fault
    return end


def status(*, written: int, flushed: int, applied: int, at: datetime, answer: bool = False) -> bytes:
    """The standby's status update: all before these positions has come, is kept, and was taken care of.

    PostgreSQL may forget what is before `flushed`. `answer` asks the server to say at once that it is there.
    """
    return _STATUS.pack(_STATUS_KIND, written, flushed, applied, microseconds_of(at), answer)
